package elastic

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// errAway: nobody answered.
var errAway = errors.New("no answer")

const (
	requestTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer: some 200 bytes are said of a document.
	maxAnswer = 32 << 20
)

// client speaks to one server.
type client struct {
	base           *url.URL // without who asks
	user, password string
	http           *http.Client
}

func newClient(address string) (*client, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" {
		return nil, errors.New("the address of Elasticsearch is no URL") // the parser's words would repeat a password
	}
	c := &client{
		base: &url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path},
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
				MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, // one for each index
			},
			Timeout: requestTimeout,
			// A request that is sent elsewhere has lost its body.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.user = base.User.Username()
	c.password, _ = base.User.Password()
	return c, nil
}

// bulk sends documents. An error says that nothing is known of any of them.
func (c *client) bulk(ctx context.Context, items []item) (verdict, error) {
	status, answer, err := c.ask(ctx, http.MethodPost, "_bulk", "application/x-ndjson", bodyOf(items))
	if err != nil {
		return verdict{}, err
	}
	return judge(items, status, answer)
}

func (c *client) ask(ctx context.Context, method, path, contentType, body string) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	if c.user != "" || c.password != "" {
		request.SetBasicAuth(c.user, c.password)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errAway, withoutAddress(err))
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: read the answer: %w", errAway, err)
	}
	return response.StatusCode, answer, nil
}

// withoutAddress leaves the address out of an error: a password that was not escaped may be anywhere
// in it.
func withoutAddress(err error) error {
	if told, is := errors.AsType[*url.Error](err); is {
		return told.Err
	}
	return err
}

func (c *client) close() { c.http.CloseIdleConnections() }

//go:embed templates.json
var mappings []byte

// templates are the bodies of the index templates by index: how what documents say is indexed.
// Names that senders choose are kept and not indexed, since each would be a field of its own, and
// what does not fit its field is kept all the same.
func templates() (map[string]string, error) {
	var byIndex map[string]map[string]any
	if err := json.Unmarshal(mappings, &byIndex); err != nil {
		return nil, fmt.Errorf("read the templates: %w", err)
	}
	byIndex[simicIndex] = byIndex[telemetryIndex]
	bodies := map[string]string{}
	for index, mapping := range byIndex {
		body, err := json.Marshal(map[string]any{
			"index_patterns": []string{index},
			"priority":       200,
			"version":        1,
			"template": map[string]any{
				"settings": map[string]any{"index.mapping.ignore_malformed": true},
				"mappings": map[string]any{"dynamic": false, "properties": mapping["properties"]},
			},
		})
		if err != nil {
			return nil, fmt.Errorf("write the template of %s: %w", index, err)
		}
		bodies[index] = string(body)
	}
	return bodies, nil
}

// putTemplate sets the template of an index. Refused says why a server that answers does not take
// it: documents are kept without it as well.
func (c *client) putTemplate(ctx context.Context, index, body string) (refused, err error) {
	status, answer, err := c.ask(ctx, http.MethodPut, "_index_template/weatherlight-"+index, "application/json", body)
	switch own := problemOf(answer) != ""; {
	case err != nil:
		return nil, err
	case own && (status == http.StatusBadRequest || status == http.StatusForbidden || status == http.StatusMethodNotAllowed),
		status == http.StatusRequestEntityTooLarge:
		return fault(status, answer), nil
	case status != http.StatusOK && status != http.StatusCreated:
		return nil, fault(status, answer)
	}
	return nil, nil
}
