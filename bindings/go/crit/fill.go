package crit

import (
	"math"
	"math/big"
	"net/netip"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// UnmarshalJSON reads an image that is JSON, in either form.
func (img *CriuImage) UnmarshalJSON(data []byte) error {
	whole, err := parse(data)
	if err != nil {
		return err
	}
	members, ok := whole.data.(object)
	if !ok {
		return whole.fail("an image is an object")
	}
	for _, m := range members {
		if m.name != "magic" && m.name != "entries" {
			return whole.fail("%q is no part of an image", m.name)
		}
	}
	if img.Magic, ok = members.get("magic").(string); !ok {
		return whole.fail("the image has no magic")
	}
	entries, ok := members.get("entries").(list)
	if !ok {
		return whole.fail("the image has no entries")
	}
	kind, err := newEntry(img.Magic, false)
	if err != nil {
		return whole.fail("magic %q is of no image", img.Magic)
	}
	if img.EntryType == nil {
		img.EntryType = kind
	}
	img.Entries = nil
	for _, value := range entries {
		entry, err := img.parseEntry(value)
		if err != nil {
			return err
		}
		img.Entries = append(img.Entries, entry)
	}
	return nil
}

func (img *CriuImage) parseEntry(value jsonValue) (*CriuEntry, error) {
	members, ok := value.data.(object)
	if !ok {
		return nil, value.fail("an entry is an object")
	}
	message, err := img.next()
	if err != nil {
		return nil, err
	}
	entry := &CriuEntry{Message: message}
	if err := fill(message.ProtoReflect(), value, true); err != nil {
		return nil, err
	}
	if err := proto.CheckInitialized(message); err != nil {
		return nil, value.fail("%v", err)
	}
	switch extra := members.get("extra").(type) {
	case nil:
	case string:
		entry.Extra = extra
	default:
		p := &printer{}
		p.value(extra)
		entry.Extra = string(p.out)
	}
	return entry, nil
}

// fill sets the fields of m that the members of an object stand for.
func fill(m protoreflect.Message, value jsonValue, extra bool) error {
	members, ok := value.data.(object)
	if !ok {
		return value.fail("%s is an object", m.Descriptor().Name())
	}
	for _, member := range members {
		v := member.data.(jsonValue)
		if extra && member.name == "extra" || v.data == nil {
			continue
		}
		field := m.Descriptor().Fields().ByName(protoreflect.Name(member.name))
		if field == nil {
			if err := fillUnknown(m, member.name, v); err != nil {
				return err
			}
			continue
		}
		if err := fillField(m, field, v); err != nil {
			return err
		}
	}
	return nil
}

func fillField(m protoreflect.Message, field protoreflect.FieldDescriptor, v jsonValue) error {
	if !field.IsList() {
		if field.Kind() == protoreflect.MessageKind {
			return fill(m.Mutable(field).Message(), v, false)
		}
		value, err := fieldValue(field, v)
		if err == nil {
			m.Set(field, value)
		}
		return err
	}
	values, ok := v.data.(list)
	if !ok {
		return v.fail("%s is a list", field.Name())
	}
	to := m.Mutable(field).List()
	for _, element := range values {
		text, isText := element.data.(string)
		switch {
		case field.Kind() == protoreflect.MessageKind:
			if err := fill(to.AppendMutable().Message(), element, false); err != nil {
				return err
			}
		case displayOf(field).address && isText:
			address, err := netip.ParseAddr(text)
			if err != nil {
				return element.fail("%q is no address", text)
			}
			for b := address.AsSlice(); len(b) > 0; b = b[4:] {
				to.Append(protoreflect.ValueOfUint32(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24))
			}
		default:
			value, err := fieldValue(field, element)
			if err != nil {
				return err
			}
			to.Append(value)
		}
	}
	return nil
}

func fieldValue(field protoreflect.FieldDescriptor, v jsonValue) (protoreflect.Value, error) {
	var none protoreflect.Value
	text, isText := v.data.(string)
	switch field.Kind() {
	case protoreflect.BoolKind:
		if b, ok := v.data.(bool); ok {
			return protoreflect.ValueOfBool(b), nil
		}
		return none, v.fail("%s is true or false", field.Name())
	case protoreflect.StringKind:
		if isText {
			return protoreflect.ValueOfString(text), nil
		}
		return none, v.fail("%s is a string", field.Name())
	case protoreflect.BytesKind:
		if !isText {
			return none, v.fail("%s is a string", field.Name())
		}
		if displayOf(field).unixName {
			return protoreflect.ValueOfBytes(fromQuoted(text)), nil
		}
		bytes, err := fromBase64(text)
		if err != nil {
			return none, v.fail("%s: no base64", field.Name())
		}
		return protoreflect.ValueOfBytes(bytes), nil
	case protoreflect.EnumKind:
		if named := field.Enum().Values().ByName(protoreflect.Name(text)); isText && named != nil {
			return protoreflect.ValueOfEnum(named.Number()), nil
		}
	}
	n, err := fieldNumber(field, v)
	if err != nil {
		return none, err
	}
	value, ok := fits(field.Kind(), n)
	if !ok {
		return none, v.fail("%s: %v is out of range", field.Name(), n)
	}
	return value, nil
}

func fits(kind protoreflect.Kind, n *big.Int) (protoreflect.Value, bool) {
	switch kind {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(n.Int64()), n.IsInt64()
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n.Uint64()), n.IsUint64()
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n.Uint64())), n.IsUint64() && n.Uint64() <= math.MaxUint32
	}
	small := n.IsInt64() && n.Int64() >= math.MinInt32 && n.Int64() <= math.MaxInt32
	if kind == protoreflect.EnumKind {
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n.Int64())), small
	}
	return protoreflect.ValueOfInt32(int32(n.Int64())), small
}

// fieldNumber reads a number in any of the ways that it may be shown.
func fieldNumber(field protoreflect.FieldDescriptor, v jsonValue) (*big.Int, error) {
	text, isText := v.data.(string)
	d := displayOf(field)
	switch {
	case !isText:
		return v.integer()
	case d.flags != nil:
		var all uint64
		for _, word := range strings.Split(text, "|") {
			word = strings.TrimSpace(word)
			if word == "" {
				continue
			}
			bits, ok := valueOf(word, d.flags)
			if !ok {
				n, err := jsonValue{v.at, word}.integer()
				if err != nil || !n.IsUint64() {
					return nil, v.fail("%s: %q is no flag of it", field.Name(), word)
				}
				bits = n.Uint64()
			}
			all |= bits
		}
		return new(big.Int).SetUint64(all), nil
	case d.dictionary != nil:
		if n, ok := valueOf(text, d.dictionary); ok {
			return new(big.Int).SetUint64(n), nil
		}
	case d.device || d.oldDevice:
		if dev, ok := readDevice(text, d.oldDevice); ok {
			return new(big.Int).SetUint64(dev), nil
		}
	}
	n, err := v.integer()
	if err != nil {
		return nil, v.fail("%s: %q is no value of it", field.Name(), text)
	}
	return n, nil
}

func readDevice(text string, old bool) (uint64, bool) {
	a, b, ok := strings.Cut(text, ":")
	major, err1 := strconv.ParseUint(a, 10, 12)
	minor, err2 := strconv.ParseUint(b, 10, 20)
	if !ok || err1 != nil || err2 != nil {
		return 0, false
	}
	if old {
		return major<<8 | minor&0xff | minor&^0xff<<12, true
	}
	return major<<20 | minor, true
}

// fillUnknown appends the values of a field that the schema does not know.
func fillUnknown(m protoreflect.Message, name string, v jsonValue) error {
	n, err := strconv.ParseInt(strings.TrimPrefix(name, "#"), 10, 32)
	number := protowire.Number(n)
	if !strings.HasPrefix(name, "#") || err != nil || !number.IsValid() || m.Descriptor().Fields().ByNumber(number) != nil {
		return v.fail("%s has no field %q", m.Descriptor().Name(), name)
	}
	values, ok := v.data.(list)
	if !ok {
		return v.fail("the values of an unknown field are a list")
	}
	raw := m.GetUnknown()
	for _, value := range values {
		switch data := value.data.(type) {
		case string:
			bytes, err := fromBase64(data)
			if err != nil {
				return value.fail("no base64")
			}
			raw = protowire.AppendBytes(protowire.AppendTag(raw, number, protowire.BytesType), bytes)
		case object:
			if raw, ok = appendFixed(raw, number, data); !ok {
				return value.fail("no value of an unknown field")
			}
		default:
			n, err := value.integer()
			if err != nil || !n.IsUint64() {
				return value.fail("no value of an unknown field")
			}
			raw = protowire.AppendVarint(protowire.AppendTag(raw, number, protowire.VarintType), n.Uint64())
		}
	}
	m.SetUnknown(raw)
	return nil
}

func appendFixed(raw []byte, number protowire.Number, data object) ([]byte, bool) {
	if len(data) != 1 {
		return raw, false
	}
	n, err := data[0].data.(jsonValue).integer()
	switch {
	case err != nil || !n.IsUint64():
		return raw, false
	case data[0].name == "fixed64":
		return protowire.AppendFixed64(protowire.AppendTag(raw, number, protowire.Fixed64Type), n.Uint64()), true
	case data[0].name == "fixed32" && n.Uint64() <= math.MaxUint32:
		return protowire.AppendFixed32(protowire.AppendTag(raw, number, protowire.Fixed32Type), uint32(n.Uint64())), true
	}
	return raw, false
}
