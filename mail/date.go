package mail

import "time"

// appendDate appends the date-time of RFC 5322 §3.3, as time.RFC1123Z has it. Package
// time would read that layout anew for each message, and the calendar three times.
func appendDate(buf []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(buf, time.RFC1123Z) // four digits are all that follows
	}
	hour, minute, second := t.Clock()
	_, offset := t.Zone()
	sign := byte('+')
	if offset < 0 {
		sign, offset = '-', -offset
	}
	buf = append(buf, t.Weekday().String()[:3]...)
	buf = append(buf, ',', ' ', digit(day/10), digit(day), ' ')
	buf = append(buf, month.String()[:3]...)
	buf = append(buf, ' ')
	buf = appendYear(buf, year)
	return append(buf, ' ', digit(hour/10), digit(hour), ':', digit(minute/10), digit(minute), ':', digit(second/10), digit(second),
		' ', sign, digit(offset/36000), digit(offset/3600), digit(offset/600%6), digit(offset/60%60))
}

// appendStamp appends the time in UTC as fourteen digits.
func appendStamp(buf []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(buf, "20060102150405")
	}
	hour, minute, second := t.Clock()
	buf = appendYear(buf, year)
	return append(buf, digit(int(month)/10), digit(int(month)), digit(day/10), digit(day),
		digit(hour/10), digit(hour), digit(minute/10), digit(minute), digit(second/10), digit(second))
}

func appendYear(buf []byte, year int) []byte {
	return append(buf, digit(year/1000), digit(year/100), digit(year/10), digit(year))
}

// digit is the last decimal digit of n.
func digit(n int) byte { return '0' + byte(n%10) }
