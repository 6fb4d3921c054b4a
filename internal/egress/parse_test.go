package egress_test

import (
	"fmt"
	"testing"

	"github.com/postrider/postrider/internal/egress"
)

func TestParseNetworks(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "[]"},
		{" , ", "[]"},
		{"10.0.0.0/8", "[10.0.0.0/8]"},
		{"10.0.0.0/8,127.0.0.1 ::1,\tfd00::/8\n", "[10.0.0.0/8 127.0.0.1/32 ::1/128 fd00::/8]"},
		{"::ffff:10.0.0.0/104 ::ffff:127.0.0.1", "[10.0.0.0/8 127.0.0.1/32]"},
		{"0.0.0.0/0", "[0.0.0.0/0]"},
	}
	for _, tt := range tests {
		got, err := egress.ParseNetworks(tt.text)
		if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%q: %v, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}

func TestParseNetworksNamesEveryFault(t *testing.T) {
	got, err := egress.ParseNetworks("10.1.2.3/8,localhost,fe80::1%eth0,10.0.0.0/33,::ffff:0:0/90,192.168.0.0/16")
	want := `"10.1.2.3/8" has bits set after its length; write 10.0.0.0/8, or 10.1.2.3 for the one address
"localhost" is neither a network such as 10.0.0.0/8 nor an IP address
"fe80::1%eth0" has a zone; write the address without %eth0
"10.0.0.0/33" is no network; write an address and a length, such as 10.0.0.0/8
"::ffff:0.0.0.0/90" is cut in the middle of IPv4-mapped addresses; write the IPv4 network`
	if got != nil || err == nil || err.Error() != want {
		t.Errorf("got %v and\n%v\nwant\n%s", got, err, want)
	}
}

func TestParsePorts(t *testing.T) {
	tests := []struct {
		text string
		want []int
		err  string
	}{
		{text: "", want: []int{25, 465, 587, 2525}},
		{text: "any", want: nil},
		{text: "25, 1025,25", want: []int{25, 1025}},
		{text: "0,smtp,any,25", err: `"0" is no port: write numbers from 1 to 65535, or "any" alone
"smtp" is no port: write numbers from 1 to 65535, or "any" alone
"any" is no port: write numbers from 1 to 65535, or "any" alone`},
	}
	for _, tt := range tests {
		got, err := egress.ParsePorts(tt.text)
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
	}
}

func FuzzParseNetworks(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8,::1", "::ffff:0:0/96", "1.2.3.4/8", "a,b/c", "fe80::1%a/10"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := egress.ParseNetworks(text)
		if err != nil {
			return
		}
		if _, err := egress.New(egress.Config{Allow: got}); err != nil {
			t.Fatalf("%q was read as %v, and New says %v", text, got, err)
		}
		for _, p := range got {
			if again, err := egress.ParseNetworks(p.String()); err != nil || len(again) != 1 || again[0] != p {
				t.Fatalf("%v does not come back: %v, %v", p, again, err)
			}
		}
	})
}
