package httpapi_test

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkSend accepts the usual message, 2 KB of text to one recipient, from 64 callers at a time: everything but the
// socket.
func BenchmarkSend(b *testing.B) {
	in := install(b)
	in.relay(in.a)
	token := in.token(in.a.user)
	body := `{"from": "Shop <shop@acme.example>", "to": ["zoe@example.net"], "subject": "Your receipt", "text_body": "` + strings.Repeat(`Thank you very much.\n`, 90) + `"}`
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			in.handler.ServeHTTP(w, r)
			if w.Code != 202 {
				b.Error(w.Body)
				return
			}
		}
	})
}
