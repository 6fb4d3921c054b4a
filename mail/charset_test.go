package mail_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/postrider/postrider/mail"
)

func TestToUTF8(t *testing.T) {
	for _, tc := range []struct{ charset, in, want string }{
		{"", "Zoë", "Zoë"},
		{"utf-8", "\ufeffZoë", "Zoë"},
		{" UTF-8 ", "Zoë \xff", "Zoë \xff"},
		{"us-ascii", "plain", "plain"},
		{"iso-8859-1", "Zo\xeb", "Zoë"},
		{"ISO-8859-15", "5 \xa4", "5 €"},
		{"windows-1252", "\x93x\x94", "“x”"},
		{"koi8-r", "\xed\xc9\xd2", "Мир"},
		{"shift_jis", "\x82\xa0", "あ"},
		{"iso-2022-jp", "\x1b$B$\"\x1b(B", "あ"},
		{"gb18030", "\xc4\xe3", "你"},
		{"big5", "\xa7\x41", "你"},
		{"euc-kr", "\xb0\xa1", "가"},
		{"utf-16", "\xff\xfea\x00", "a"},
		{"utf-16", "\xfe\xff\x00a", "a"},
		{"utf-16be", "\xfe\xff\x00a", "a"},
		{"utf-16le", "a\x00", "a"},
		{"utf-8", "\xef\xbb", "\xef\xbb"},
		{"", "", ""},
	} {
		r, err := mail.ToUTF8(tc.charset, strings.NewReader(tc.in))
		if err != nil {
			t.Errorf("%s: %v", tc.charset, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.charset, got, err, tc.want)
		}
	}
	for _, charset := range []string{"klingon", "iso-2022-kr", "replacement", "utf-7"} {
		_, err := mail.ToUTF8(charset, strings.NewReader("x"))
		var f mail.Fault
		if !errors.As(err, &f) || f.Code != mail.CodeInvalidValue || !strings.Contains(f.Detail, charset) {
			t.Errorf("%s: %v", charset, err)
		}
	}
}
