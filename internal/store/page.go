package store

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

const (
	defaultPage = 50
	maxPage     = 200
)

// Page asks for a part of a list. Lists go from the newest row to the oldest unless their method says otherwise.
type Page struct {
	// Limit is the greatest number of rows. 0: 50. More than 200 are taken as 200.
	Limit int
	// After is the cursor that came with the page before. Empty: the first page.
	After string
}

// CursorError refuses a Page.After that no list returned.
type CursorError struct{}

// Error says what to do.
func (*CursorError) Error() string {
	return "store: the cursor is not one that a list returned: start again without it"
}

// position is a place in a list ordered by time and id, newest first.
type position struct {
	at time.Time
	id uuid.UUID
}

// before every row: later than any time we write, and the greatest UUID.
func start() position { return position{at: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), id: uuid.Max} }

const positionSize = 8 + 16

func (p position) cursor() string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, positionSize), uint64(p.at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...))
}

// limit is the number of rows to read: one more than asked for, to know whether there is a next page.
func (p Page) limit() int {
	switch {
	case p.Limit <= 0:
		return defaultPage
	case p.Limit > maxPage:
		return maxPage
	}
	return p.Limit
}

// position reads After.
func (p Page) position() (position, error) {
	if p.After == "" {
		return start(), nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(p.After)
	if err != nil || len(b) != positionSize {
		return position{}, &CursorError{}
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	if at.Year() < 1970 || at.Year() > 9999 { // outside of what the databases can compare
		return position{}, &CursorError{}
	}
	return position{at: at, id: uuid.UUID(b[8:])}, nil
}

// nextPage cuts what was read with one row more than limit, and returns the cursor of the next page; empty at the end.
func nextPage[T any](list []T, limit int, at func(T) position) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	list = list[:limit]
	return list, at(list[limit-1]).cursor()
}
