package crit

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON is read by this package itself: strings may hold bytes that are no UTF-8, as lone surrogates \udc80 to \udcff, and an
// error tells where it is.

// jsonValue is nil, bool, digits, string, list or object.
type jsonValue struct {
	at   int
	data any
}

type (
	digits string
	list   []jsonValue
	object []member
	member struct {
		name string
		data any
	}
)

func (o object) get(name string) any {
	for _, m := range o {
		if m.name == name {
			if v, ok := m.data.(jsonValue); ok {
				return v.data
			}
			return m.data
		}
	}
	return nil
}

func (v jsonValue) fail(format string, args ...any) error {
	return &Error{Offset: v.at, Reason: fmt.Sprintf(format, args...)}
}

// integer is the number of a number or of a string: decimal, or hexadecimal with 0x.
func (v jsonValue) integer() (*big.Int, error) {
	var text string
	switch d := v.data.(type) {
	case digits:
		text = string(d)
	case string:
		text = d
	default:
		return nil, v.fail("not an integer")
	}
	// Base 0 knows 0x, but an underscore and a leading zero's octal as well.
	bare := strings.TrimPrefix(text, "-")
	base := 10
	if strings.HasPrefix(bare, "0x") || strings.HasPrefix(bare, "0X") {
		bare, base = bare[2:], 16
	}
	n, ok := new(big.Int).SetString(bare, base)
	if !ok || bare == "" || bare[0] == '+' || bare[0] == '-' || len(bare) > 40 {
		return nil, v.fail("%q is no integer", text)
	}
	if strings.HasPrefix(text, "-") {
		n.Neg(n)
	}
	return n, nil
}

type parser struct {
	text []byte
	at   int
}

const maxDepth = 100

// parse reads a whole JSON text.
func parse(text []byte) (jsonValue, error) {
	p := &parser{text: text}
	v, err := p.value(0)
	if err != nil {
		return v, err
	}
	if p.space(); p.at != len(p.text) {
		return v, p.fail("something follows the value")
	}
	return v, nil
}

func (p *parser) fail(format string, args ...any) error {
	return &Error{Offset: p.at, Reason: fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// is takes this byte if it is the next one.
func (p *parser) is(b byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == b {
		p.at++
		return true
	}
	return false
}

func (p *parser) value(depth int) (jsonValue, error) {
	p.space()
	v := jsonValue{at: p.at}
	if depth > maxDepth {
		return v, p.fail("nested deeper than %d", maxDepth)
	}
	if p.at == len(p.text) {
		return v, p.fail("it ends too early")
	}
	var err error
	switch b := p.text[p.at]; {
	case b == '{':
		v.data, err = p.object(depth)
	case b == '[':
		v.data, err = p.list(depth)
	case b == '"':
		v.data, err = p.string()
	case b == '-' || b >= '0' && b <= '9':
		start := p.at
		for p.at < len(p.text) && strings.IndexByte("+-.eE0123456789", p.text[p.at]) >= 0 {
			p.at++
		}
		v.data = digits(p.text[start:p.at])
	default:
		v.data, err = p.word()
	}
	return v, err
}

func (p *parser) word() (any, error) {
	for word, value := range map[string]any{"true": true, "false": false, "null": nil} {
		if strings.HasPrefix(string(p.text[p.at:min(p.at+5, len(p.text))]), word) {
			p.at += len(word)
			return value, nil
		}
	}
	return nil, p.fail("no JSON")
}

func (p *parser) object(depth int) (object, error) {
	p.at++
	members := object{}
	for first := true; !p.is('}'); first = false {
		if !first && !p.is(',') {
			return nil, p.fail("a comma or } belongs here")
		}
		if p.space(); p.at == len(p.text) || p.text[p.at] != '"' {
			return nil, p.fail("a name belongs here")
		}
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		if members.get(name) != nil {
			return nil, p.fail("%q is given twice", name)
		}
		if !p.is(':') {
			return nil, p.fail("a colon belongs here")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{name, v})
	}
	return members, nil
}

func (p *parser) list(depth int) (list, error) {
	p.at++
	values := list{}
	for first := true; !p.is(']'); first = false {
		if !first && !p.is(',') {
			return nil, p.fail("a comma or ] belongs here")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func (p *parser) string() (string, error) {
	p.at++
	var out []byte
	for p.at < len(p.text) {
		b := p.text[p.at]
		p.at++
		switch {
		case b == '"':
			return string(out), nil
		case b < 0x20:
			return "", p.fail("a control character in a string")
		case b != '\\':
			out = append(out, b)
			continue
		}
		var err error
		if out, err = p.escape(out); err != nil {
			return "", err
		}
	}
	return "", p.fail("a string without an end")
}

func (p *parser) escape(out []byte) ([]byte, error) {
	if p.at == len(p.text) {
		return nil, p.fail("a string without an end")
	}
	b := p.text[p.at]
	p.at++
	if i := strings.IndexByte(`"\/bfnrt`, b); i >= 0 {
		return append(out, "\"\\/\b\f\n\r\t"[i]), nil
	}
	if b != 'u' {
		return nil, p.fail("\\%c is no escape", b)
	}
	unit, err := p.unit()
	if err != nil {
		return nil, err
	}
	if unit >= 0xdc80 && unit <= 0xdcff {
		return append(out, byte(unit)), nil
	}
	if utf16.IsSurrogate(unit) {
		if p.at+2 > len(p.text) || string(p.text[p.at:p.at+2]) != `\u` {
			return nil, p.fail("half a character")
		}
		p.at += 2
		second, err := p.unit()
		if err != nil {
			return nil, err
		}
		if unit = utf16.DecodeRune(unit, second); unit == utf8.RuneError {
			return nil, p.fail("half a character")
		}
	}
	return utf8.AppendRune(out, unit), nil
}

func (p *parser) unit() (rune, error) {
	if p.at+4 > len(p.text) {
		return 0, p.fail("a string without an end")
	}
	n, err := strconv.ParseUint(string(p.text[p.at:p.at+4]), 16, 16)
	if err != nil {
		return 0, p.fail("four hexadecimal digits belong here")
	}
	p.at += 4
	return rune(n), nil
}
