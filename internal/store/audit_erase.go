package store

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/google/uuid"
)

// erasePiece is how many side rows one transaction deletes: on SQLite it holds up every other writer.
const erasePiece = 500

// EraseAuditPerson erases from a tenant's audit log what it holds of a user as a person: the addresses and
// user agents the user came with, and the details that name the user. The entries stay, with the user's id, and
// the chain stays whole. It returns how many pieces of data were erased and writes an entry about itself; called again
// it goes on where a failure ended it.
func (s *Store) EraseAuditPerson(ctx context.Context, tenant, user uuid.UUID, by Actor) (int, error) {
	if tenant == uuid.Nil || user == uuid.Nil {
		return 0, &InvalidError{Field: "user", Reason: "name a tenant and a user"}
	}
	if by.UserID == user { // or the last entry would hold the person again
		by.Addr, by.UserAgent = netip.Addr{}, ""
	}
	total := 0
	for {
		var n int64
		err := s.asDelivery(ctx, readWrite, func(t tx) error {
			t.setTenant(tenant)
			var err error
			n, err = t.exec(ctx, `delete from audit_people where tenant_id = $1 and user_id = $2 and (entry_id, part) in (
				select entry_id, part from audit_people where tenant_id = $1 and user_id = $2 order by entry_id limit $3)`,
				tenant, user, erasePiece)
			if err != nil || n == erasePiece {
				return err
			}
			return s.audit(ctx, t, AuditEntry{
				TenantID: tenant, Actor: by, Action: "audit.erase", TargetKind: "user", TargetID: user.String(),
				Detail: map[string]string{"erased": strconv.Itoa(total + int(n))},
			})
		})
		if err != nil {
			return total, fmt.Errorf("store: erasing a person from the audit log: %w", err)
		}
		total += int(n)
		if n < erasePiece {
			return total, nil
		}
	}
}
