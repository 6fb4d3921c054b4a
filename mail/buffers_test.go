package mail_test

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/mail"
)

// Messages composed with shared buffers by many goroutines never hold another's octets.
func TestBuffersAreNotShared(t *testing.T) {
	o := &mail.ComposeOptions{Buffers: &mail.Buffers{}}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			mark := strings.Repeat(strconv.Itoa(i), 3000)
			m := letter()
			m.Text = mark
			for range 200 {
				c, err := m.Compose(o)
				if err != nil {
					t.Error(err)
					return
				}
				signed := c.Prepend([]byte("X-Mark: " + mark[:8] + "\r\n"))
				for _, one := range []*mail.Composed{c, signed} {
					var b bytes.Buffer
					if _, err := one.WriteTo(&b); err != nil || int64(b.Len()) != one.Size() {
						t.Errorf("%d octets of %d: %v", b.Len(), one.Size(), err)
					}
					body := strings.NewReplacer("=", "", "\r\n", "").Replace(b.String()[strings.Index(b.String(), "\r\n\r\n"):])
					if !strings.Contains(body, mark) {
						t.Errorf("another message's octets in %q", b.String())
					}
				}
				c.Release()
			}
		})
	}
	group.Wait()
}

// What was composed without Buffers may be released too, and stays as it is.
func TestReleaseWithoutBuffers(t *testing.T) {
	m := letter()
	m.Text = "Hello.\n"
	c, err := m.Compose(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
	var b bytes.Buffer
	if n, err := c.WriteTo(&b); err != nil || n != c.Size() {
		t.Fatalf("%d octets: %v", n, err)
	}
}
