package auth

// Reason is why a decision was taken, one word for logs, metrics and audit. It is not shown to callers.
type Reason string

// Reasons of decisions that allow.
const (
	ReasonAuthenticated Reason = "authenticated"
	ReasonRoleHeld      Reason = "role_held"
	ReasonScopeHeld     Reason = "scope_held"
	ReasonKindHeld      Reason = "kind_held"
	ReasonOwnRow        Reason = "own_row"
	ReasonAdminOfTenant Reason = "admin_of_tenant"
)

// Reasons of refusals before a credential is looked at.
const (
	ReasonNoHeader    Reason = "no_authorization_header"
	ReasonManyHeaders Reason = "several_authorization_headers"
	ReasonScheme      Reason = "other_scheme"
	ReasonSyntax      Reason = "header_syntax"
	ReasonTooLong     Reason = "too_long"
	ReasonNotAccepted Reason = "kind_not_accepted" // nothing is configured that could verify this kind
)

// Reasons of refusals of tokens.
const (
	ReasonFormat       Reason = "token_format"       // not three parts of base64url, or not strict JSON
	ReasonHeader       Reason = "token_header"       // a header parameter of the wrong type
	ReasonForbidden    Reason = "forbidden_header"   // crit, b64, or a header that names its own key
	ReasonUnknownKey   Reason = "unknown_key"        // no key has this kid
	ReasonAlgorithm    Reason = "algorithm"          // the key is for another algorithm
	ReasonSignature    Reason = "signature"          // the signature is not the key's
	ReasonClaims       Reason = "claims_syntax"      // the claims are not one strict JSON object
	ReasonClaimType    Reason = "claim_type"         // a claim has the wrong type or is out of range
	ReasonNoExpiry     Reason = "no_expiry"          // exp is missing
	ReasonExpired      Reason = "expired"            // exp has passed
	ReasonTooFar       Reason = "expires_too_late"   // exp is further off than MaxLifetime
	ReasonNotYet       Reason = "not_yet_valid"      // nbf or iat lies ahead
	ReasonIssuer       Reason = "wrong_issuer"       // iss is another
	ReasonAudience     Reason = "wrong_audience"     // aud does not name us
	ReasonTenantID     Reason = "tenant_id"          // missing or not a UUID
	ReasonUserID       Reason = "user_id"            // missing or not a UUID
	ReasonRole         Reason = "unknown_role"       // missing or unknown
	ReasonRevoked      Reason = "revoked"            // by jti, or all of the user's
	ReasonRevocations  Reason = "revocations_failed" // Revocations did not answer
	ReasonProviderAway Reason = "provider_away"      // no key could ever be fetched
)

// Reasons of refusals of API keys and the operator key.
const (
	ReasonKeyFormat  Reason = "key_format"
	ReasonKeyUnknown Reason = "key_unknown"
	ReasonKeySecret  Reason = "key_secret"
	ReasonKeyRecord  Reason = "key_record" // the store returned a record that cannot be
	ReasonKeyRevoked Reason = "key_revoked"
	ReasonKeyExpired Reason = "key_expired"
	ReasonKeyNetwork Reason = "key_network"
	ReasonKeyStore   Reason = "key_store_failed"
)

// Reasons of refusals of verified principals.
const (
	ReasonNotRegistered Reason = "not_registered"
	ReasonSuspended     Reason = "suspended"
	ReasonRoleMissing   Reason = "role_missing"
	ReasonSendingOnly   Reason = "sending_only"
	ReasonOtherKind     Reason = "other_kind"
	ReasonOtherTenant   Reason = "other_tenant"
	ReasonOtherUser     Reason = "other_user"
	ReasonNobody        Reason = "not_authenticated" // a check ran without the middleware before it
	ReasonHook          Reason = "hook_failed"       // Directory failed
)
