package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
)

// checkTimeout bounds a check: a relay that has not answered by then is not one to send through.
const checkTimeout = 30 * time.Second

// relaySecret gives the sealed password of a relay; nil: it has none.
type relaySecret func(ctx context.Context, id uuid.UUID) ([]byte, error)

func (s *Server) checkRelay(ctx context.Context, in *ByID) (*bodyOf[*postrider.CheckReport], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	tenant := s.tenantOf(ctx)
	relay, err := tenant.Relay(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.check(ctx, relay, tenant.RelaySecret)
}

// check connects to a relay and reports what it found. A relay that cannot be used is no error of the request.
func (s *Server) check(ctx context.Context, relay store.Relay, secret relaySecret) (*bodyOf[*postrider.CheckReport], error) {
	client, err := s.clientOf(ctx, relay, secret)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	report, _ := client.Check(ctx)
	return &bodyOf[*postrider.CheckReport]{Body: report}, client.Close(context.WithoutCancel(ctx))
}

// clientOf makes a client for a relay. Its host is dialled as one that a stranger named.
func (s *Server) clientOf(ctx context.Context, relay store.Relay, secret relaySecret) (*postrider.Client, error) {
	to, err := postrider.ParseRelay("smtp://" + net.JoinHostPort(relay.Host, strconv.Itoa(relay.Port)) + "?tls=" + relay.TLS)
	if err != nil {
		return nil, err
	}
	if relay.HasPassword {
		sealed, err := secret(ctx, relay.ID)
		if err != nil {
			return nil, err
		}
		password, err := s.cfg.Sealer.Unseal(relay.OwnerTenant, seal.PurposeRelayPassword, sealed)
		if err != nil {
			return nil, err
		}
		to.Username, to.Password = relay.Username, string(password)
	}
	cfg := &postrider.Config{LocalName: relay.HELO, Dial: s.cfg.Egress.DialContext, DangerouslySkipTLSVerify: relay.DangerouslySkipTLSVerify}
	if relay.CACert != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(relay.CACert)) {
			return nil, errors.New("httpapi: the CA certificate of a relay cannot be read")
		}
		cfg.TLSConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return postrider.NewRelay(to, cfg)
}
