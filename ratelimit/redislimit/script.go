package redislimit

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// script decides about one request. It does what log.take of package ratelimit does.
//
// KEYS[1] is a list of times in microseconds, oldest first; integers of this size take 10
// octets each in a list, a quarter of what a sorted set with its unique members needs.
// ARGV is the limit, the window in microseconds, and in tests the time. The reply is
// whether the request is allowed, how many more are, the microseconds until there is one
// more, and the time.
//
// Times are written with format because Lua would write large numbers with an exponent.
// What has left the window is found by halving and cut off in one step: a list may hold a
// million.
const script = `
local key, limit, span, now = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local ttl = math.ceil(span / 1000) + 1000
local n = redis.call('LLEN', key)
local oldest = now
if n > 0 then
  local newest = tonumber(redis.call('LINDEX', key, -1))
  local back = newest - now
  if back > 0 then
    local all = redis.call('LRANGE', key, 0, -1)
    redis.call('DEL', key)
    for _, at in ipairs(all) do
      redis.call('RPUSH', key, string.format('%.0f', tonumber(at) - back))
    end
    redis.call('PEXPIRE', key, ttl)
    newest = now
  end
  if now - newest >= span then
    redis.call('DEL', key)
    n = 0
  else
    oldest = tonumber(redis.call('LINDEX', key, 0))
    if now - oldest >= span then
      local gone, stays = 0, n - 1
      while stays - gone > 1 do
        local middle = math.floor((gone + stays) / 2)
        if now - tonumber(redis.call('LINDEX', key, middle)) >= span then
          gone = middle
        else
          stays = middle
        end
      end
      redis.call('LTRIM', key, stays, -1)
      n = n - stays
      oldest = tonumber(redis.call('LINDEX', key, 0))
    end
  end
end
local allowed = 0
if n < limit then
  allowed = 1
  n = redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, ttl)
elseif n > limit then
  oldest = tonumber(redis.call('LINDEX', key, n - limit))
end
return {allowed, math.max(0, limit - n), oldest + span - now, now}
`

// maxPlainKey is the longest key, in octets, that stands in Redis as it is.
const maxPlainKey = 128

// redisKey is where key is counted under a policy: prefix{key}:policy. In a cluster the
// part in braces decides on the node. A key that is long or could be taken for another is
// replaced by its hash.
func redisKey(prefix, key, policy string) string {
	if len(key) > maxPlainKey || key == "" || key[0] == '#' || strings.ContainsAny(key, "{}") {
		sum := sha256.Sum256([]byte(key))
		key = "#" + hex.EncodeToString(sum[:])
	}
	return prefix + "{" + key + "}:" + policy
}
