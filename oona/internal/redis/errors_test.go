package redis

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona/embedded"
)

// The code of an error stands first, but for that which a script met: a server before
// Redis 7, and the embedded broker, have words before it.
func TestCodeOfAnErrorIsFoundWhereverItStands(t *testing.T) {
	t.Parallel()
	embedded, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.Close)
	const add = "return redis.call('XADD', KEYS[1], '*', 'a', 'b')"
	const old = "ERR Error running script (call to f_0123): @user_script:12: "
	reply := func(text string) string { return "return redis.error_reply('" + text + "')" }
	server := redistest.Start(t).URL
	for name, test := range map[string]struct {
		url, script, code, other string
		fault                    bool // of one stream
	}{
		"a script on this Redis":      {server, add, "WRONGTYPE", "NOPERM", true},
		"a script on the broker":      {embedded.URL(), add, "WRONGTYPE", "NOPERM", true},
		"a script on Redis 6.2":       {server, reply(old + "WRONGTYPE Operation against"), "WRONGTYPE", "Operation", true},
		"no more ids on Redis 6.2":    {server, reply(old + "ERR The stream has exhausted the last"), "ERR The stream", "The", true},
		"no more ids":                 {server, reply("ERR The stream has exhausted the last"), "The stream", "WRONGTYPE", true},
		"words that name another one": {server, reply("BUSY running a script: 1: WRONGTYPE"), "BUSY", "WRONGTYPE", false},
		"a script that is wrong":      {server, reply(old + "attempt to index: a: WRONGTYPE"), "attempt", "WRONGTYPE", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			option := rueidis.MustParseURL(test.url)
			option.DisableCache, option.ForceSingleClient = true, true
			c, err := rueidis.NewClient(option)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Do(t.Context(), c.B().Set().Key("k").Value("v").Build()).Error(); err != nil {
				t.Fatal(err)
			}
			err = c.Do(t.Context(), c.B().Eval().Script(test.script).Numkeys(1).Key("k").Build()).Error()
			if !HasCode(err, test.code) || HasCode(err, test.other) || IsStreamFault(err) != test.fault {
				t.Errorf("%q: is %s %v, is %s %v, is the fault of a stream %v", err,
					test.code, HasCode(err, test.code), test.other, HasCode(err, test.other), IsStreamFault(err))
			}
		})
	}
}
