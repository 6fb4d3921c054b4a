package mail

import (
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// The formats made by hand are those of package time.
func TestDatesAreThoseOfPackageTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(t, "minutes")*60)
		at := time.Unix(rapid.Int64Range(-62_200_000_000, 253_500_000_000).Draw(t, "seconds"), 0).In(zone)
		if got, want := string(appendDate(nil, at)), at.Format(time.RFC1123Z); got != want {
			t.Errorf("date %q, want %q", got, want)
		}
		if got, want := string(appendStamp(nil, at)), at.UTC().Format("20060102150405"); got != want {
			t.Errorf("stamp %q, want %q", got, want)
		}
	})
}

func TestValidUTF8IsThatOfPackageUTF8(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.String(),
			rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "octets")) }),
			// Mostly text, with an octet replaced.
			rapid.Custom(func(t *rapid.T) string {
				b := []byte(rapid.StringOfN(rapid.RuneFrom([]rune("ab \né€𝄞\ufffd")), 1, 40, -1).Draw(t, "text"))
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "octet")
				return string(b)
			}),
		).Draw(t, "s")
		if got, want := validUTF8(s), utf8.ValidString(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
		if got, want := validUTF8([]byte(s)), utf8.ValidString(s); got != want {
			t.Errorf("octets of %q: %v, want %v", s, got, want)
		}
	})
}
