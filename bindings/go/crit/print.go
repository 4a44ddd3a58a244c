package crit

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/opts"
)

// printer writes JSON: indented by 4 with values as the fields' options say, or in one line with numbers as numbers. Only
// ASCII comes out.
type printer struct {
	out    []byte
	pretty bool
	indent int
}

func (p *printer) open(bracket byte) {
	p.out = append(p.out, bracket)
	p.indent += 4
}

func (p *printer) close(bracket byte, empty bool) {
	p.indent -= 4
	if !empty {
		p.newline()
	}
	p.out = append(p.out, bracket)
}

func (p *printer) newline() {
	if p.pretty {
		p.out = append(p.out, '\n')
		p.out = append(p.out, strings.Repeat(" ", p.indent)...)
	}
}

func (p *printer) next(first bool) {
	if !first {
		p.out = append(p.out, ',')
		if !p.pretty {
			p.out = append(p.out, ' ')
		}
	}
	p.newline()
}

func (p *printer) key(name string) {
	p.string(name)
	p.out = append(p.out, ": "...)
}

func (p *printer) unsigned(n uint64) { p.out = strconv.AppendUint(p.out, n, 10) }

func (p *printer) signed(n int64) { p.out = strconv.AppendInt(p.out, n, 10) }

func (p *printer) string(text string) {
	p.out = append(p.out, '"')
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			// No UTF-8: a lone surrogate stands for the byte.
			p.unit(0xdc00 + rune(text[i]))
		case r >= ' ' && r <= '~' && r != '"' && r != '\\':
			p.out = append(p.out, byte(r))
		default:
			p.special(r)
		}
		i += size
	}
	p.out = append(p.out, '"')
}

func (p *printer) special(r rune) {
	if i := strings.IndexRune("\"\\\n\r\t\b\f", r); i >= 0 {
		p.out = append(p.out, '\\', `"\nrtbf`[i])
		return
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		p.unit(high)
		r = low
	}
	p.unit(r)
}

func (p *printer) unit(r rune) { p.out = fmt.Appendf(p.out, `\u%04x`, r) }

func (p *printer) image(img *CriuImage) error {
	p.open('{')
	p.next(true)
	p.key("magic")
	p.string(img.Magic)
	p.next(false)
	p.key("entries")
	p.open('[')
	for i, entry := range img.Entries {
		p.next(i == 0)
		if err := p.entryOf(img.Magic, i == 0, entry); err != nil {
			return err
		}
	}
	p.close(']', len(img.Entries) == 0)
	p.close('}', false)
	return nil
}

func (p *printer) entry(e *CriuEntry) error { return p.entryOf("", false, e) }

func (p *printer) entryOf(name string, first bool, e *CriuEntry) error {
	p.open('{')
	empty := true
	extra := e.Extra != ""
	if e.Message != nil {
		p.fields(e.ProtoReflect(), false, &empty)
		extra = extra || hasExtra(name, first, e.ProtoReflect())
	}
	if extra {
		p.next(empty)
		empty = false
		p.key("extra")
		if strings.HasPrefix(e.Extra, "{") || strings.HasPrefix(e.Extra, "[") {
			v, err := parse([]byte(e.Extra))
			if err != nil {
				return err
			}
			p.value(v)
		} else {
			p.string(e.Extra)
		}
	}
	p.close('}', empty)
	return nil
}

// value prints parsed JSON.
func (p *printer) value(value any) {
	switch v := value.(type) {
	case jsonValue:
		p.value(v.data)
	case nil:
		p.out = append(p.out, "null"...)
	case bool:
		p.out = strconv.AppendBool(p.out, v)
	case digits:
		p.out = append(p.out, v...)
	case string:
		p.string(v)
	case list:
		p.open('[')
		for i, element := range v {
			p.next(i == 0)
			p.value(element)
		}
		p.close(']', len(v) == 0)
	case object:
		p.open('{')
		for i, m := range v {
			p.next(i == 0)
			p.key(m.name)
			p.value(m.data)
		}
		p.close('}', len(v) == 0)
	}
}

func (p *printer) message(m protoreflect.Message) {
	p.open('{')
	empty := true
	p.fields(m, false, &empty)
	p.close('}', empty)
}

// display is how a field is shown.
type display struct {
	hex, address, device, oldDevice, unixName bool
	flags, dictionary                         []namedValue
}

var displays sync.Map // protoreflect.FieldDescriptor -> *display

func displayOf(field protoreflect.FieldDescriptor) *display {
	if d, ok := displays.Load(field); ok {
		return d.(*display)
	}
	d := &display{}
	if o, ok := proto.GetExtension(field.Options(), opts.E_Criu).(*opts.CRIU_Opts); ok && o != nil {
		d.hex, d.address, d.device, d.oldDevice = o.GetHex(), o.GetIpadd(), o.GetDev(), o.GetOdev()
		d.flags = flagNames[o.GetFlags()]
		if o.GetDict() != "" {
			d.dictionary = dictionaries[o.GetDict()+"."+string(field.Name())]
		}
		d.unixName = o.GetConv() == "unix_name"
	}
	displays.Store(field, d)
	return d
}

// fields prints the fields that are present by ascending number; unknown ones stand under # and their number.
func (p *printer) fields(m protoreflect.Message, hex bool, empty *bool) {
	known := m.Descriptor().Fields()
	unknown := unknownFields(m.GetUnknown())
	var numbers []protowire.Number
	for i := range known.Len() {
		if m.Has(known.Get(i)) {
			numbers = append(numbers, known.Get(i).Number())
		}
	}
	for n := range unknown {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		p.next(*empty)
		*empty = false
		field := known.ByNumber(n)
		if field == nil {
			p.key(fmt.Sprintf("#%d", n))
			p.value(unknown[n])
			continue
		}
		p.key(string(field.Name()))
		d := displayOf(field)
		value := m.Get(field)
		switch {
		case !field.IsList():
			p.scalar(field, d, value, hex)
		case d.address && p.pretty:
			p.addresses(value.List())
		default:
			p.open('[')
			for i := range value.List().Len() {
				p.next(i == 0)
				p.scalar(field, d, value.List().Get(i), hex)
			}
			p.close(']', false)
		}
	}
}

func (p *printer) scalar(field protoreflect.FieldDescriptor, d *display, v protoreflect.Value, hex bool) {
	hex = hex || d.hex
	switch field.Kind() {
	case protoreflect.MessageKind:
		p.open('{')
		empty := true
		p.fields(v.Message(), hex, &empty)
		p.close('}', empty)
	case protoreflect.BytesKind:
		if d.unixName {
			p.string(toQuoted(v.Bytes()))
		} else {
			p.string(toBase64(v.Bytes()))
		}
	case protoreflect.StringKind:
		p.string(v.String())
	case protoreflect.BoolKind:
		p.out = strconv.AppendBool(p.out, v.Bool())
	case protoreflect.EnumKind:
		if name := field.Enum().Values().ByNumber(v.Enum()); name != nil {
			p.string(string(name.Name()))
		} else {
			p.signed(int64(v.Enum()))
		}
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		p.number(d, uint64(v.Int()), v.Int() < 0, true, hex)
	default:
		p.number(d, v.Uint(), false, false, hex)
	}
}

func (p *printer) number(d *display, n uint64, negative, signed, hex bool) {
	switch {
	case p.pretty && hex && negative:
		p.string(fmt.Sprintf("-%#x", -n))
	case p.pretty && hex:
		p.string(fmt.Sprintf("%#x", n))
	case p.pretty && d.oldDevice:
		p.string(fmt.Sprintf("%d:%d", n>>8&0xfff|n>>32&0xffff_f000, n&0xff|n>>12&0xffff_ff00))
	case p.pretty && d.device:
		p.string(fmt.Sprintf("%d:%d", n>>20, n&0xf_ffff))
	case p.pretty && d.flags != nil:
		p.string(toFlags(n, d.flags))
	case p.pretty && nameOf(n, d.dictionary) != "":
		p.string(nameOf(n, d.dictionary))
	case signed:
		p.signed(int64(n))
	default:
		p.unsigned(n)
	}
}

// addresses prints one word as an IPv4 address, four as one of IPv6, and any other count as numbers.
func (p *printer) addresses(words protoreflect.List) {
	var bytes []byte
	for i := range words.Len() {
		w := uint32(words.Get(i).Uint())
		bytes = append(bytes, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	p.open('[')
	switch len(bytes) {
	case 4:
		p.next(true)
		p.string(netip.AddrFrom4([4]byte(bytes)).String())
	case 16:
		p.next(true)
		p.string(ipv6([16]byte(bytes)))
	default:
		for i := range words.Len() {
			p.next(i == 0)
			p.unsigned(words.Get(i).Uint())
		}
	}
	p.close(']', false)
}

// ipv6 has groups only, also for mapped IPv4 addresses.
func ipv6(bytes [16]byte) string {
	address := netip.AddrFrom16(bytes)
	if !address.Is4In6() {
		return address.String()
	}
	return fmt.Sprintf("::ffff:%x:%x", uint(bytes[12])<<8|uint(bytes[13]), uint(bytes[14])<<8|uint(bytes[15]))
}

// unknownFields are the values of fields that the schema does not know, as they stand on the wire.
func unknownFields(raw []byte) map[protowire.Number]list {
	fields := map[protowire.Number]list{}
	for len(raw) > 0 {
		n, kind, tag := protowire.ConsumeTag(raw)
		if tag < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(n, kind, raw[tag:])
		if size < 0 {
			break
		}
		value := raw[tag : tag+size]
		raw = raw[tag+size:]
		var data any
		switch kind {
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			data = digits(strconv.FormatUint(v, 10))
		case protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			data = toBase64(v)
		case protowire.Fixed64Type:
			v, _ := protowire.ConsumeFixed64(value)
			data = object{{"fixed64", digits(strconv.FormatUint(v, 10))}}
		case protowire.Fixed32Type:
			v, _ := protowire.ConsumeFixed32(value)
			data = object{{"fixed32", digits(strconv.FormatUint(uint64(v), 10))}}
		default:
			continue
		}
		fields[n] = append(fields[n], jsonValue{data: data})
	}
	return fields
}
