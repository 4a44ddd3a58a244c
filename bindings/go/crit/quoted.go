package crit

import (
	"bytes"
	"strings"
)

// Quoted-printable text (RFC 2045) stands for the names of unix sockets.

const quotedLine = 76

// toQuoted quotes everything but printable ASCII and breaks lines. Line ends are kept where that can be read back.
func toQuoted(name []byte) string {
	if text := quote(name, false); bytes.Equal(fromQuoted(text), name) {
		return text
	}
	return quote(name, true)
}

func quote(name []byte, lineEnds bool) string {
	// The first newline decides what a broken line ends with.
	end := "=\n"
	if i := bytes.IndexByte(name, '\n'); !lineEnds && i > 0 && name[i-1] == '\r' {
		end = "=\r\n"
	}
	var out strings.Builder
	column := 0
	for i := 0; i < len(name); i++ {
		b, next := name[i], -1
		if i+1 < len(name) {
			next = int(name[i+1])
		}
		switch {
		case mustQuote(b, next, column, lineEnds):
			if column+3 >= quotedLine {
				out.WriteString(end)
				column = 0
			}
			out.WriteByte('=')
			out.WriteByte("0123456789ABCDEF"[b>>4])
			out.WriteByte("0123456789ABCDEF"[b&15])
			column += 3
		case b == '\n' || b == '\r' && next == '\n':
			out.WriteString(strings.TrimPrefix(end, "="))
			column = 0
			if b == '\r' {
				i++
			}
		default:
			if next >= 0 && next != '\n' && column+1 >= quotedLine {
				out.WriteString(end)
				column = 0
			}
			out.WriteByte(b)
			column++
		}
	}
	return out.String()
}

func mustQuote(b byte, next, column int, lineEnds bool) bool {
	switch {
	case b == '\r' || b == '\n':
		return lineEnds
	case b == '.':
		// A line of a single dot means something to mail.
		return column == 0 && (next == -1 || next == '\n' || next == '\r' || next == 0)
	}
	return b == '=' || b <= 32 || b > 126
}

func fromQuoted(text string) []byte {
	out := []byte{}
	for i := 0; i < len(text); i++ {
		if text[i] != '=' {
			out = append(out, text[i])
			continue
		}
		if i+1 < len(text) && (text[i+1] == '\n' || text[i+1] == '\r') {
			// A soft line break: up to and with the newline.
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				break
			}
			i += end
			continue
		}
		if i+2 < len(text) {
			high, low := unhex(text[i+1]), unhex(text[i+2])
			if high >= 0 && low >= 0 {
				out = append(out, byte(high<<4|low))
				i += 2
				continue
			}
		}
		out = append(out, '=')
	}
	return out
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
