package postrider_test

import (
	"strings"
	"testing"
)

// parityOfService lists what the authentication middleware of the Python service
// promised: for each promise the tests that show that it is kept.
var parityOfService = []struct {
	promise string
	shownBy []string
}{
	{"tokens are issued", []string{"auth.TestIssueAndVerify", "auth.TestIssuerRefuses", "internal/httpapi.TestLogin"}},
	{"tokens are verified, keys rotate", []string{"auth.TestAttacks", "auth.TestTimes", "auth.TestRotation", "auth.TestJWKSRotation", "internal/httpapi.TestTokenAttacks"}},
	{"bearer extraction", []string{"auth.TestBearer", "auth.TestHeaderFieldAttacks", "internal/httpapi.TestNoOtherWayIn"}},
	{"every request has a verified tenant and user", []string{"auth.TestClaimNamesAndRoles", "internal/httpapi.TestUnregistered", "internal/httpapi.TestWalk"}},
	{"roles of an endpoint", []string{"auth.TestRequirements", "internal/httpapi.TestRoleOfTokenIsBounded", "internal/httpapi.TestWalk"}},
	{"access to rows", []string{"auth.TestAccess", "auth.TestAccessProperties", "internal/httpapi.TestWalk", "internal/store.TestRowLevelSecurity"}},
	{"log and audit of requests", []string{
		"internal/httpapi.TestLogLine", "internal/httpapi.TestChangesAreAudited", "internal/httpapi.TestDenialsAreAudited",
		"internal/store.TestTamperingIsNamed", "internal/store.TestRightsOnTheAuditLog",
	}},
	{"CORS", []string{"internal/httpapi.TestCORS", "internal/httpapi.TestCORSErrorsAreReadable"}},
	{"rate limit", []string{
		"ratelimit.TestWindowMoves", "ratelimit/redislimit.TestTwoProcessesShareALimit", "ratelimit/redislimit.TestRedisKilledAndRestartedUnderLoad",
		"internal/httpapi.TestLimits", "internal/httpapi.TestLimiterAway", "internal/httpapi.TestTwoNodesShareLimits",
	}},
	{"errors in one shape", []string{"internal/httpapi.TestFieldErrors", "internal/httpapi.TestPanicIsAPlain500", "internal/httpapi.TestNothingIsEchoed"}},
	{"passwords and keys compared in constant time", []string{"auth.TestPasswords", "auth.TestAPIKeys", "internal/httpapi.TestLoginTellsNothing"}},
	{"documents with runnable examples", []string{".TestDocumentsCompile", "cmd/postrider.TestReadmeService"}},
}

func TestParityOfService(t *testing.T) {
	names := map[string]string{}
	for _, p := range parityOfService {
		for _, test := range p.shownBy {
			at := strings.LastIndexByte(test, '.')
			dir, name := test[:at], test[at+1:]
			if _, ok := names[dir]; !ok {
				names[dir] = testsIn(t, dir)
			}
			if !strings.Contains(names[dir], "\n"+name+"\n") {
				t.Errorf("%s: directory %q has no %s any more", p.promise, dir, name)
			}
		}
	}
}
