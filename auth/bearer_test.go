package auth_test

import (
	"net/http"
	"testing"

	"github.com/postrider/postrider/auth"
)

func TestBearer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fields []string
		want   string
		reason auth.Reason
	}{
		{[]string{"Bearer abc"}, "abc", ""},
		{[]string{"bearer   abc.def-_~+/=="}, "abc.def-_~+/==", ""},
		{nil, "", auth.ReasonNoHeader},
		{[]string{"Bearer a", "Bearer a"}, "", auth.ReasonManyHeaders},
		{[]string{"Basic a"}, "", auth.ReasonScheme},
		{[]string{"Bearer"}, "", auth.ReasonSyntax},
		{[]string{"Bearer a=b"}, "", auth.ReasonSyntax},
		{[]string{"Bearer a,b"}, "", auth.ReasonSyntax},
		{[]string{"Bearer ="}, "", auth.ReasonSyntax},
		{[]string{"Bearer ä"}, "", auth.ReasonSyntax},
	} {
		h := http.Header{}
		for _, value := range c.fields {
			h.Add("Authorization", value)
		}
		got, err := auth.Bearer(h)
		if got.Reveal() != c.want || c.reason != "" && refusedFor(t, err) != c.reason {
			t.Errorf("%q: %q, %v", c.fields, got.Reveal(), err)
		}
	}
}
