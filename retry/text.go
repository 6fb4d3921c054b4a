package retry

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxDelays bounds the list in a text, which may come from a tenant. Nobody lists a hundred waits by hand.
const maxDelays = 100

// ParseSchedule reads a schedule from its text form: parts separated by commas, each at most once but the waits.
//
//	1s,5s,30s,then=2m..1h,jitter=0.2,giveup=72h
//
//	1s             a wait before the next attempt, as a Go duration; these come first
//	then=2m..1h    afterwards waits that double from 2 minutes up to 1 hour; then=2m doubles without bound
//	jitter=0.2     spread of each wait; also as 20%
//	giveup=72h     no attempt later than this after the first
//	never          instead of waits and then: no second attempt
//
// Space around parts does not matter. The result is valid (see Validate); String gives the text back. The error names
// the part at fault, the first one, in one line.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	seen := map[string]bool{}
	fault := func(part, format string, args ...any) (Schedule, error) {
		return Schedule{}, fmt.Errorf("retry: schedule part %q: %s", clip(part), fmt.Sprintf(format, args...))
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		key, value, isKey := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !isKey && part != "never" {
			if len(seen) > 0 {
				return fault(part, "waits come first, as in 1s,5s,then=2m..1h,giveup=72h")
			}
			d, err := time.ParseDuration(part)
			if err != nil || d < 0 {
				return fault(part, "is not a wait; write one such as 30s or 5m, or never")
			}
			if len(s.Delays) == maxDelays {
				return fault(part, "there are more than %d waits; use then=", maxDelays)
			}
			s.Delays = append(s.Delays, d)
			continue
		}
		if seen[key] {
			return fault(part, "%s is given twice", clip(key))
		}
		seen[key] = true
		var err error
		switch key {
		case "never":
			if isKey || len(s.Delays) > 0 {
				return fault(part, "never stands alone, without waits")
			}
		case "then":
			first, last, bounded := strings.Cut(value, "..")
			if s.Base, err = parsePositive(first); err == nil && bounded {
				s.Max, err = parsePositive(last)
			}
			if err == nil && bounded && s.Max < s.Base {
				return fault(part, "the second time is less than the first; exchange them")
			}
			if err != nil {
				return fault(part, "write two times over 0, such as then=2m..1h")
			}
		case "giveup":
			if s.GiveUpAfter, err = parsePositive(value); err != nil {
				return fault(part, "write a time over 0, such as giveup=72h")
			}
		case "jitter":
			if s.Jitter, err = parseShare(value); err != nil {
				return fault(part, "write a number from 0 to 1, such as jitter=0.2")
			}
		default:
			return fault(part, "is not known; the parts are waits, then=, jitter=, giveup= and never")
		}
	}
	if seen["never"] && s.Base > 0 {
		return Schedule{}, fmt.Errorf("retry: schedule %q: never and then= exclude each other", clip(text))
	}
	if len(s.Delays) == 0 && s.Base == 0 && !seen["never"] {
		return Schedule{}, fmt.Errorf("retry: schedule %q has no waits; write some, such as 1s,5s,30s, or never", clip(text))
	}
	if len(s.Delays) == 0 {
		s.Delays = nil
	}
	return s, nil
}

// String is the text form that ParseSchedule reads. For a schedule with faults it is for people only.
func (s Schedule) String() string {
	parts := make([]string, 0, len(s.Delays)+3)
	for _, d := range s.Delays {
		parts = append(parts, short(d))
	}
	switch {
	case s.Base != 0 && s.Max != 0:
		parts = append(parts, "then="+short(s.Base)+".."+short(s.Max))
	case s.Base != 0:
		parts = append(parts, "then="+short(s.Base))
	case len(s.Delays) == 0:
		parts = append(parts, "never")
	}
	if s.Jitter != 0 {
		parts = append(parts, "jitter="+strconv.FormatFloat(s.Jitter, 'g', -1, 64))
	}
	if s.GiveUpAfter != 0 {
		parts = append(parts, "giveup="+short(s.GiveUpAfter))
	}
	return strings.Join(parts, ",")
}

// MarshalText is String, or the error of Validate for a schedule with faults.
func (s Schedule) MarshalText() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseSchedule. On an error the schedule is left as it was.
func (s *Schedule) UnmarshalText(text []byte) error {
	parsed, err := ParseSchedule(string(text))
	if err == nil {
		*s = parsed
	}
	return err
}

func parsePositive(text string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err == nil && d <= 0 {
		err = strconv.ErrRange
	}
	return d, err
}

func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	if percent {
		share /= 100
	}
	if !(share >= 0 && share <= 1) { // also refuses NaN
		return 0, strconv.ErrRange
	}
	return share, nil
}

// short is a Go duration without its zero parts: 1h instead of 1h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// clip keeps an error to one readable line, whatever the input was.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
