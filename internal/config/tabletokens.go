package config

import "time"

func tokenSettings() []setting {
	return []setting{
		{key: "jwt_secret", group: groupTokens, secret: true, shown: "made at the first start in the data directory", help: "Secret of 32 octets or more that tokens are signed with (HS256). With `jwt_keys` it only verifies.", set: jwtSecret},
		{key: "jwt_keys", group: groupTokens, placeholder: "KID=FILE", list: true, help: "Keys for tokens, separated by commas: key id and a PEM file (RSA, P-256, Ed25519) or a file with a secret. The first signs, all verify; so a new key is put last, then first, then the old one taken out.", set: pairs(func(s *Settings) *[]Pair { return &s.JWTKeys }, "2026-11=key.pem")},
		{key: "jwt_issuer", group: groupTokens, def: "postrider", placeholder: "TEXT", mayBeEmpty: true, help: "What tokens carry as `iss` and must carry; empty: nothing, and any.", set: text(func(s *Settings) *string { return &s.JWTIssuer })},
		{key: "jwt_audience", group: groupTokens, def: "postrider", placeholder: "TEXT", mayBeEmpty: true, help: "What tokens carry as `aud` and must carry; empty: nothing, and only tokens without.", set: text(func(s *Settings) *string { return &s.JWTAudience })},
		{key: "jwt_expiry", group: groupTokens, def: "24h", placeholder: "TIME", help: "How long a token is good.", set: duration(func(s *Settings) *time.Duration { return &s.JWTExpiry }, time.Minute, 366*24*time.Hour)},
		{key: "refresh_expiry", group: groupTokens, def: "30d", placeholder: "TIME", help: "How long a session can be refreshed without a new login.", set: duration(func(s *Settings) *time.Duration { return &s.RefreshExpiry }, time.Minute, 366*24*time.Hour)},
		{key: "jwks_url", group: groupTokens, placeholder: "URL", help: "Key set of an outside identity provider, https (http on this host only). `jwks_issuer` and `jwks_audience` go with it.", set: jwksURL},
		{key: "jwks_issuer", group: groupTokens, placeholder: "TEXT", help: "What the provider's tokens must carry as `iss`.", set: text(func(s *Settings) *string { return &s.JWKSIssuer })},
		{key: "jwks_audience", group: groupTokens, placeholder: "TEXT", help: "What the provider's tokens must carry as `aud`.", set: text(func(s *Settings) *string { return &s.JWKSAudience })},
		{key: "jwks_claim_tenant", group: groupTokens, def: "tenant_id", placeholder: "CLAIM", help: "The provider's claim with the tenant's id, a UUID.", set: text(func(s *Settings) *string { return &s.JWKSClaimTenant })},
		{key: "jwks_claim_user", group: groupTokens, def: "user_id", placeholder: "CLAIM", help: "The provider's claim with the user's id, a UUID.", set: text(func(s *Settings) *string { return &s.JWKSClaimUser })},
		{key: "jwks_claim_role", group: groupTokens, def: "role", placeholder: "CLAIM", help: "The provider's claim with the role.", set: text(func(s *Settings) *string { return &s.JWKSClaimRole })},
		{key: "jwks_roles", group: groupTokens, placeholder: "WORD=ROLE", list: true, shown: "`user` and `admin` as they are", help: "The provider's words for our roles, separated by commas: `Mail.Admin=admin`; other words are refused.", set: pairs(func(s *Settings) *[]Pair { return &s.JWKSRoles }, "Mail.Admin=admin")},
		{key: "tenant_autocreate", group: groupTokens, def: "false", isBool: true, help: "Register the tenant and the user of a verified token that are unknown here, for an outside issuer that is the authority; otherwise they get 403.", set: boolean(func(s *Settings) *bool { return &s.TenantAutocreate })},
		{key: "operator_key", group: groupTokens, secret: true, help: "Key of the operator, who manages tenants. `operator_key_hash` does as well and is no secret.", set: secret(func(s *Settings) *Secret { return &s.OperatorKey })},
		{key: "operator_key_hash", group: groupTokens, placeholder: "HEX", shown: "the file that `setup` wrote in the data directory", help: "SHA-256 of the operator key, 64 hexadecimal digits.", set: text(func(s *Settings) *string { return &s.OperatorKeyHash })},
		{key: "seal_keyset", group: groupTokens, secret: true, shown: "made at the first start in the data directory", help: "Keys that stored secrets are encrypted with (JSON, from `setup` or `keys rotate`).", set: secret(func(s *Settings) *Secret { return &s.SealKeyset })},
		{key: "audit_key", group: groupTokens, secret: true, shown: "made at the first start in the data directory", help: "Key that signs checkpoints of the audit log.", set: secret(func(s *Settings) *Secret { return &s.AuditKey })},
	}
}
