package s3test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// algorithm is signature version 4 of AWS.
const algorithm = "AWS4-HMAC-SHA256"

// signed says whether the request bears a signature made with the server's keys.
func signed(r *http.Request) bool {
	parts := map[string]string{}
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	key, scope, _ := strings.Cut(parts["Credential"], "/")
	if key != AccessKey {
		return false
	}
	request := sha256.Sum256([]byte(canonical(r, parts["SignedHeaders"])))
	toSign := strings.Join([]string{algorithm, r.Header.Get("X-Amz-Date"), scope, hex.EncodeToString(request[:])}, "\n")
	return hmac.Equal([]byte(parts["Signature"]), []byte(hex.EncodeToString(mac(signingKey(scope), toSign))))
}

// canonical is the text of a request that its signature covers.
func canonical(r *http.Request, signedHeaders string) string {
	var headers strings.Builder
	for name := range strings.SplitSeq(signedHeaders, ";") {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	return strings.Join([]string{
		r.Method, r.URL.EscapedPath(), query, headers.String(), signedHeaders, r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
}

// signingKey is the secret bound to a day, a region and a service.
func signingKey(scope string) []byte {
	key := []byte("AWS4" + SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return key
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
