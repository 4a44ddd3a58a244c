package crit

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	ipc_msg "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
)

// What follows the entries of an image, as bytes: the fields that tell how many.
var byteLengths = map[string][]protoreflect.Name{
	"PIPES_DATA":  {"bytes"},
	"FIFO_DATA":   {"bytes"},
	"SK_QUEUES":   {"length"},
	"BPFMAP_DATA": {"keys_bytes", "values_bytes"},
}

// base64 lines stand for so many bytes.
const lineBytes = 57

// extra reads what follows an entry.
func (c *cursor) extra(name string, first bool, m protoreflect.Message, noPayload bool) (string, error) {
	start := c.at
	text, err := c.payload(name, first, m)
	if err == nil && noPayload && text != nil {
		return sizeText(uint64(c.at - start)), nil
	}
	if err != nil || text == nil {
		return "", err
	}
	return *text, nil
}

func (c *cursor) payload(name string, first bool, m protoreflect.Message) (*string, error) {
	var bytes []byte
	var err error
	if fields, ok := byteLengths[name]; ok {
		var sum uint64
		for _, f := range fields {
			sum += number(m, f)
		}
		bytes, err = c.take(sum)
		return shown(bytes), err
	}
	switch name {
	case "GHOST_FILE":
		switch {
		case !first:
			bytes, err = c.take(number(m, "len"))
		case number(m, "chunks") != 0:
			return nil, nil
		default:
			bytes, err = c.take(uint64(c.left()))
		}
	case "IPCNS_SHM":
		if number(m, "in_pagemaps") != 0 {
			// The reference viewer takes the entries that follow for the segment's bytes.
			bytes, err = c.take(min(number(m, "size"), uint64(c.left())))
		} else {
			bytes, err = c.padded(number(m, "size"), 4)
		}
	case "TCP_STREAM":
		return c.queues(m)
	case "IPCNS_MSG":
		return c.ipcMessages(m)
	case "IPCNS_SEM":
		return c.semaphores(m)
	default:
		return nil, nil
	}
	return shown(bytes), err
}

func shown(bytes []byte) *string {
	text := toBase64(bytes)
	return &text
}

func toBase64(bytes []byte) string {
	var b strings.Builder
	for len(bytes) > 0 {
		n := min(len(bytes), lineBytes)
		b.WriteString(base64.StdEncoding.EncodeToString(bytes[:n]))
		b.WriteByte('\n')
		bytes = bytes[n:]
	}
	return b.String()
}

func fromBase64(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
}

func padding(n, unit uint64) uint64 { return -n % unit }

// padded takes n bytes padded to a multiple of unit; with the padding if that is not zero.
func (c *cursor) padded(n, unit uint64) ([]byte, error) {
	if n > uint64(c.left()) {
		return nil, c.fail(c.at, "%d bytes are announced, %d are left", n, c.left())
	}
	all, err := c.take(n + padding(n, unit))
	if err != nil {
		return nil, err
	}
	for _, b := range all[n:] {
		if b != 0 {
			return all, nil
		}
	}
	return all[:n], nil
}

func (c *cursor) queues(m protoreflect.Message) (*string, error) {
	in, err := c.take(number(m, "inq_len"))
	if err != nil {
		return nil, err
	}
	out, err := c.take(number(m, "outq_len"))
	if err != nil {
		return nil, err
	}
	p := &printer{}
	p.value(object{{"inq", toBase64(in)}, {"outq", toBase64(out)}})
	text := string(p.out)
	return &text, nil
}

func (c *cursor) ipcMessages(m protoreflect.Message) (*string, error) {
	p := &printer{}
	p.open('[')
	count := number(m, "qnum")
	for i := range count {
		message := new(ipc_msg.IpcMsg)
		if err := c.message(message); err != nil {
			return nil, err
		}
		p.next(i == 0)
		p.message(message.ProtoReflect())
		text, err := c.padded(uint64(message.GetMsize()), 8)
		if err != nil {
			return nil, err
		}
		p.next(false)
		p.string(toBase64(text))
	}
	p.close(']', count == 0)
	text := string(p.out)
	return &text, nil
}

func (c *cursor) semaphores(m protoreflect.Message) (*string, error) {
	bytes, err := c.padded(2*number(m, "nsems"), 8)
	if err != nil {
		return nil, err
	}
	p := &printer{}
	p.open('[')
	for i := 0; i+1 < len(bytes); i += 2 {
		p.next(i == 0)
		p.unsigned(uint64(binary.LittleEndian.Uint16(bytes[i:])))
	}
	p.close(']', len(bytes) == 0)
	text := string(p.out)
	return &text, nil
}

// hasExtra tells whether something follows this entry, if only nothing.
func hasExtra(name string, first bool, m protoreflect.Message) bool {
	if _, ok := byteLengths[name]; ok {
		return true
	}
	switch name {
	case "GHOST_FILE":
		return !first || number(m, "chunks") == 0
	case "IPCNS_SHM", "TCP_STREAM", "IPCNS_MSG", "IPCNS_SEM":
		return true
	}
	return false
}

// appendExtra appends what an entry's Extra stands for; it has to be as long as the entry says.
func appendExtra(out []byte, name string, first bool, entry *CriuEntry) ([]byte, error) {
	m := entry.ProtoReflect()
	if !hasExtra(name, first, m) {
		if entry.Extra != "" {
			return nil, fmt.Errorf("nothing may follow this entry")
		}
		return out, nil
	}
	switch name {
	case "TCP_STREAM":
		return appendQueues(out, m, entry.Extra)
	case "IPCNS_MSG":
		return appendMessages(out, m, entry.Extra)
	case "IPCNS_SEM":
		return appendSemaphores(out, m, entry.Extra)
	}
	bytes, err := fromBase64(entry.Extra)
	if err != nil {
		return nil, err
	}
	if fields, ok := byteLengths[name]; ok {
		var sum uint64
		for _, f := range fields {
			sum += number(m, f)
		}
		return appendFit(out, bytes, sum, 1)
	}
	switch {
	case name == "GHOST_FILE" && !first:
		return appendFit(out, bytes, number(m, "len"), 1)
	case name == "IPCNS_SHM" && number(m, "in_pagemaps") == 0:
		return appendFit(out, bytes, number(m, "size"), 4)
	}
	return append(out, bytes...), nil
}

// appendFit appends bytes that an entry announces, padded; they may come with padding of their own.
func appendFit(out, bytes []byte, announced, unit uint64) ([]byte, error) {
	pad := padding(announced, unit)
	switch uint64(len(bytes)) {
	case announced:
		return append(append(out, bytes...), make([]byte, pad)...), nil
	case announced + pad:
		return append(out, bytes...), nil
	}
	return nil, fmt.Errorf("%d bytes where the entry announces %d", len(bytes), announced)
}

func appendQueues(out []byte, m protoreflect.Message, extra string) ([]byte, error) {
	value, err := parse([]byte(extra))
	if err != nil {
		return nil, err
	}
	queues, ok := value.data.(object)
	if !ok {
		return nil, fmt.Errorf("the queues are an object")
	}
	for _, q := range [][2]string{{"inq", "inq_len"}, {"outq", "outq_len"}} {
		text, ok := queues.get(q[0]).(string)
		if !ok {
			return nil, fmt.Errorf("no queue %q", q[0])
		}
		bytes, err := fromBase64(text)
		if err != nil {
			return nil, err
		}
		if out, err = appendFit(out, bytes, number(m, protoreflect.Name(q[1])), 1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func appendMessages(out []byte, m protoreflect.Message, extra string) ([]byte, error) {
	value, err := parse([]byte(extra))
	if err != nil {
		return nil, err
	}
	values, ok := value.data.(list)
	if !ok || uint64(len(values)) != 2*number(m, "qnum") {
		return nil, fmt.Errorf("there are to be %d messages with their texts", number(m, "qnum"))
	}
	for i := 0; i < len(values); i += 2 {
		message := new(ipc_msg.IpcMsg)
		if err := fill(message.ProtoReflect(), values[i], false); err != nil {
			return nil, err
		}
		if out, err = appendMessage(out, message); err != nil {
			return nil, err
		}
		text, ok := values[i+1].data.(string)
		if !ok {
			return nil, fmt.Errorf("the text of a message is base64")
		}
		bytes, err := fromBase64(text)
		if err != nil {
			return nil, err
		}
		if out, err = appendFit(out, bytes, uint64(message.GetMsize()), 8); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func appendSemaphores(out []byte, m protoreflect.Message, extra string) ([]byte, error) {
	value, err := parse([]byte(extra))
	if err != nil {
		return nil, err
	}
	values, ok := value.data.(list)
	if !ok {
		return nil, fmt.Errorf("the values are a list")
	}
	var bytes []byte
	for _, v := range values {
		n, err := v.integer()
		if err != nil || n.Sign() < 0 || n.BitLen() > 16 {
			return nil, fmt.Errorf("not the value of a semaphore")
		}
		bytes = binary.LittleEndian.AppendUint16(bytes, uint16(n.Uint64()))
	}
	return appendFit(out, bytes, 2*number(m, "nsems"), 8)
}

// sizeText is a size people can read: 512B, 4KiB, 1.5MiB.
func sizeText(bytes uint64) string {
	unit, shift := "B", 0
	for i, name := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if bytes>>(10*(i+1)) > 0 {
			unit, shift = name, 10*(i+1)
		}
	}
	whole, rest := bytes>>shift, bytes&(1<<shift-1)
	if rest == 0 {
		return fmt.Sprintf("%d%s", whole, unit)
	}
	return fmt.Sprintf("%d.%d%s", whole, rest*10>>shift, unit)
}
