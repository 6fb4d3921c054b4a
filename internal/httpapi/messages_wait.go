package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
)

const (
	// maxWait bounds how long an answer is held back: proxies give up not much later.
	maxWait = 60 * time.Second
	// A message on a warm connection is sent within milliseconds, one that is deferred not before a second: so look
	// often at first.
	firstLook, lastLook = 4 * time.Millisecond, 250 * time.Millisecond
)

// waitOf reads the preference wait of RFC 7240 §4.3, in seconds; ok is false if there is none.
func waitOf(header http.Header) (wait time.Duration, ok bool) {
	for _, value := range header.Values("Prefer") {
		for one := range strings.SplitSeq(value, ",") {
			one, _, _ = strings.Cut(one, ";")
			name, seconds, _ := strings.Cut(one, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(seconds), `"`))
			if err != nil || n < 0 {
				return 0, false // a preference that cannot be read is ignored, RFC 7240 §2
			}
			return min(time.Duration(min(n, int(maxWait/time.Second)))*time.Second, maxWait), true
		}
	}
	return 0, false
}

// await gives a message with its final result, if that comes in time; otherwise nil. What goes wrong meanwhile is no matter of the message's:
// it is accepted.
func (s *Server) await(ctx context.Context, id uuid.UUID, wait time.Duration) *api.MessageDetail {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tenant := s.tenantOf(ctx)
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		select {
		case <-ctx.Done():
			return nil
		case <-s.cfg.Stopping: // what was accepted must be answered before the connection ends, or it is sent again
			return nil
		case <-timer.C:
		}
		m, err := tenant.Message(ctx, id)
		if err == nil && !m.FinishedAt.IsZero() {
			d := detailOf(m)
			return &d
		}
		timer.Reset(pause)
	}
}
