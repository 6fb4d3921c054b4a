package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/postrider/postrider/auth/internal/strictjson"
)

func TestObject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want error
	}{
		{`{}`, nil},
		{" \t\r\n{ } \n", nil},
		{`{"a":1,"A":2}`, nil},
		{`{"a":{"a":{"a":[{"a":1},{"a":1}]}}}`, nil},
		{`{"a":"\"}","b":["]",{"c":"\\"}],"d":null,"e":-1.5e3}`, nil},
		{`{"":1}`, nil},
		{``, strictjson.ErrSyntax},
		{`null`, strictjson.ErrSyntax},
		{`[]`, strictjson.ErrSyntax},
		{`"x"`, strictjson.ErrSyntax},
		{`{"a":1}{}`, strictjson.ErrSyntax},
		{`{"a":1,}`, strictjson.ErrSyntax},
		{`{"a":01}`, strictjson.ErrSyntax},
		{`{"a":NaN}`, strictjson.ErrSyntax},
		{`{a:1}`, strictjson.ErrSyntax},
		{"{\"a\":\"\xff\"}", strictjson.ErrSyntax},
		{`{"a":1,"a":1}`, strictjson.ErrDuplicate},
		{`{"a":1,"\u0061":2}`, strictjson.ErrDuplicate},
		{`{"x":{"a":1,"a":2}}`, strictjson.ErrDuplicate},
		{`{"x":[[{"a":1,"a":2}]]}`, strictjson.ErrDuplicate},
		{`{"":1,"":2}`, strictjson.ErrDuplicate},
		{`{"x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, nil},
		{`{"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, strictjson.ErrTooDeep},
		{strings.Repeat(`{"x":`, 17) + "1" + strings.Repeat("}", 17), strictjson.ErrTooDeep},
	} {
		members, err := strictjson.Object([]byte(c.text))
		if !errors.Is(err, c.want) || err != nil && members != nil {
			t.Errorf("%.60s: %v, want %v", c.text, err, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1700000000": 1700000000, "1700000000.999": 1700000000, "253402300799": 253402300799,
	} {
		if got, ok := strictjson.Seconds([]byte(text)); !ok || got != want {
			t.Errorf("%s: %d, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "-0", "253402300800", "1e9", "1E9", "1.5e3", "9999999999999", "0.1234567890", `"1"`, "null", "true", "[1]", "1.-5"} {
		if got, ok := strictjson.Seconds([]byte(text)); ok {
			t.Errorf("%s is taken for %d", text, got)
		}
	}
	if s, ok := strictjson.String([]byte(`"a\u00e4\n"`)); !ok || s != "aä\n" {
		t.Errorf("%q, %t", s, ok)
	}
	for _, text := range []string{"", "null", "1", "[]", `{"a":"b"}`} {
		if s, ok := strictjson.String([]byte(text)); ok {
			t.Errorf("%s is taken for %q", text, s)
		}
	}
	if list, ok := strictjson.Strings([]byte(`["a","b"]`)); !ok || len(list) != 2 {
		t.Errorf("%q, %t", list, ok)
	}
	for _, text := range []string{"", "null", `"a"`, `["a",null]`, `["a",1]`, `[["a"]]`} {
		if list, ok := strictjson.Strings([]byte(text)); ok {
			t.Errorf("%s is taken for %q", text, list)
		}
	}
}

// FuzzObject: no panic, and what is taken is what encoding/json reads, member for member.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[true,{"c":"\u0061"}]}`, `{"a":1,"\u0061":2}`, ` {"x" : "\"" , "y":null } `, `{"a":{"b":{}}}`, `[`, `{"a":-0.5e+10}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := strictjson.Object(data)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("taken, but encoding/json says %v", err)
		}
		if len(want) != len(members) {
			t.Fatalf("%d members, encoding/json has %d", len(members), len(want))
		}
		for _, m := range members {
			if string(want[string(m.Name)]) != string(m.Value) {
				t.Errorf("%q: %s, encoding/json has %s", m.Name, m.Value, want[string(m.Name)])
			}
		}
	})
}
