package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// argument turns what tx takes into nil, string, []byte, int64, bool, float64, time.Time or uuid.UUID, which the two
// databases then write in their own ways.
func argument(arg any) (any, error) {
	switch v := arg.(type) {
	case nil:
		return nil, nil
	case array:
		return v.values, nil
	case string:
		return cleanText(v)
	case []byte:
		if v == nil {
			return nil, nil
		}
		return v, nil
	case int:
		return int64(v), nil
	case int64, bool, float64:
		return v, nil
	case time.Time:
		if v.IsZero() {
			return nil, nil
		}
		return v.UTC().Truncate(time.Microsecond), nil // what both databases can keep
	case uuid.UUID:
		if v == uuid.Nil {
			return nil, nil
		}
		return v, nil
	case netip.Addr:
		if !v.IsValid() {
			return nil, nil
		}
		return v.String(), nil
	case json.RawMessage:
		if v == nil {
			return nil, nil
		}
		return string(v), nil
	case []string:
		if v == nil {
			v = []string{}
		}
		text, err := json.Marshal(v)
		return string(text), err
	}
	v := reflect.ValueOf(arg)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return argument(v.Elem().Interface())
	case reflect.String:
		return cleanText(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	}
	return nil, fmt.Errorf("store: an argument has type %T", arg)
}

// cleanText refuses what PostgreSQL cannot keep as text, on both databases alike.
func cleanText(s string) (any, error) {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return nil, &InvalidError{Field: "text", Reason: "contains a NUL character or is not valid UTF-8"}
	}
	return s, nil
}

// assign puts a column's value, which is one of argument's kinds or int64 for a time or a bool, into dest.
func assign(dest, value any) error {
	bad := func() error { return fmt.Errorf("store: cannot scan a column of type %T into %T", value, dest) }
	switch d := dest.(type) {
	case *string:
		return assignString(d, value, bad)
	case *[]byte:
		switch v := value.(type) {
		case nil:
			*d = nil
		case []byte:
			*d = v
		case string:
			*d = []byte(v)
		default:
			return bad()
		}
		return nil
	case *int64:
		return assignInt(d, value, bad)
	case *int:
		var n int64
		err := assignInt(&n, value, bad)
		*d = int(n)
		return err
	case *bool:
		switch v := value.(type) {
		case nil:
			*d = false
		case bool:
			*d = v
		case int64:
			*d = v != 0
		default:
			return bad()
		}
		return nil
	case *float64:
		switch v := value.(type) {
		case nil:
			*d = 0
		case float64:
			*d = v
		case int64:
			*d = float64(v)
		default:
			return bad()
		}
		return nil
	case *time.Time:
		switch v := value.(type) {
		case nil:
			*d = time.Time{}
		case time.Time:
			*d = v.UTC()
		case int64:
			*d = time.UnixMicro(v).UTC()
		default:
			return bad()
		}
		return nil
	case *uuid.UUID:
		return assignUUID(d, value, bad)
	case *netip.Addr:
		var text string
		if err := assignString(&text, value, bad); err != nil || text == "" {
			*d = netip.Addr{}
			return err
		}
		addr, err := netip.ParseAddr(text)
		*d = addr
		return err
	case *json.RawMessage:
		var text string
		if err := assignString(&text, value, bad); err != nil || value == nil {
			*d = nil
			return err
		}
		*d = json.RawMessage(text)
		return nil
	case *[]string:
		var text string
		if err := assignString(&text, value, bad); err != nil || text == "" {
			*d = nil
			return err
		}
		*d = nil // Unmarshal would write into the array of the row before
		return json.Unmarshal([]byte(text), d)
	}
	return assignNamed(dest, value, bad)
}

func assignString(d *string, value any, bad func() error) error {
	switch v := value.(type) {
	case nil:
		*d = ""
	case string:
		*d = v
	case []byte:
		*d = string(v)
	default:
		return bad()
	}
	return nil
}

func assignInt(d *int64, value any, bad func() error) error {
	switch v := value.(type) {
	case nil:
		*d = 0
	case int64:
		*d = v
	default:
		return bad()
	}
	return nil
}

func assignUUID(d *uuid.UUID, value any, bad func() error) error {
	switch v := value.(type) {
	case nil:
		*d = uuid.Nil
	case uuid.UUID:
		*d = v
	case []byte:
		if len(v) != len(d) {
			return bad()
		}
		copy(d[:], v)
	default:
		return bad()
	}
	return nil
}

// assignNamed handles types made of string and of integers.
func assignNamed(dest, value any, bad func() error) error {
	v := reflect.ValueOf(dest)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return bad()
	}
	switch e := v.Elem(); e.Kind() {
	case reflect.String:
		var text string
		err := assignString(&text, value, bad)
		e.SetString(text)
		return err
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		err := assignInt(&n, value, bad)
		e.SetInt(n)
		return err
	}
	return bad()
}
