package store

import (
	"time"
)

// quotas are what the operator allows a tenant; 0 is no limit.
type quotas struct {
	perDay, perMonth, queued int64
}

// usage is what a tenant has used: messages accepted on a day, in its month, and those with open recipients.
type usage struct {
	day                     string
	inDay, inMonth, waiting int64
}

const (
	dayLayout   = "2006-01-02"
	monthLength = len("2006-01")
	// queuedRetry is when a full queue is worth another try.
	queuedRetry = time.Minute
)

// at is the usage as it counts at a time: a new day begins at zero.
func (u usage) at(now time.Time) usage {
	day := now.UTC().Format(dayLayout)
	if day <= u.day { // a clock that is behind another node's counts on the later day
		return u
	}
	if len(u.day) < monthLength || u.day[:monthLength] != day[:monthLength] {
		u.inMonth = 0
	}
	u.day, u.inDay = day, 0
	return u
}

func (u *usage) add(now time.Time, n int64) {
	*u = u.at(now)
	u.inDay += n
	u.inMonth += n
	u.waiting += n
}

// refuse says whether n more messages exceed a quota.
func (q quotas) refuse(u usage, now time.Time, n int64) error {
	u = u.at(now)
	now = now.UTC()
	tomorrow := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
	nextMonth := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case q.perMonth > 0 && u.inMonth+n > q.perMonth:
		return &QuotaError{Name: "messages_per_month", Limit: q.perMonth, RetryAfter: nextMonth.Sub(now)}
	case q.perDay > 0 && u.inDay+n > q.perDay:
		return &QuotaError{Name: "messages_per_day", Limit: q.perDay, RetryAfter: tomorrow.Sub(now)}
	case q.queued > 0 && u.waiting+n > q.queued:
		return &QuotaError{Name: "queued", Limit: q.queued, RetryAfter: queuedRetry}
	}
	return nil
}

// lookUsage asks for the tenant's quotas and, if it has any, for what it has used. That row is locked then, so that
// several nodes cannot exceed a quota together.
func (g *acceptGroup) lookUsage(b *batch, t tx) {
	b.query(func(r *rows) error {
		g.known = true
		return r.Scan(&g.limits.perDay, &g.limits.perMonth, &g.limits.queued)
	}, `select q.messages_per_day, q.messages_per_month, q.queued from tenants t left join tenant_quotas q on q.tenant_id = t.id
		where t.id = $1`, g.tenant)
	b.query(func(r *rows) error {
		var accepted, finished int64
		if err := r.Scan(&g.usage.day, &g.usage.inDay, &g.usage.inMonth, &accepted, &finished); err != nil {
			return err
		}
		g.usage.waiting = accepted - finished
		return nil
	}, `select u.day, u.in_day, u.in_month, u.accepted, coalesce((select f.finished from tenant_finished f where f.tenant_id = $1), 0)
		from tenant_usage u where u.tenant_id = $1 and exists (select 1 from tenant_quotas q where q.tenant_id = $1
			and (q.messages_per_day > 0 or q.messages_per_month > 0 or q.queued > 0))`+forUpdate(t), g.tenant)
}

const countUsage = `insert into tenant_usage (tenant_id, day, in_day, in_month, accepted) values ($1, $2, $3, $3, $3)
	on conflict (tenant_id) do update set
	in_day = case when tenant_usage.day >= excluded.day then tenant_usage.in_day else 0 end + excluded.in_day,
	in_month = case when substr(tenant_usage.day, 1, 7) >= substr(excluded.day, 1, 7) then tenant_usage.in_month else 0 end + excluded.in_month,
	accepted = tenant_usage.accepted + excluded.accepted,
	day = case when tenant_usage.day >= excluded.day then tenant_usage.day else excluded.day end`
