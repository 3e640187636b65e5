package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// heard is what a double was told.
type heard struct {
	mu    sync.Mutex
	texts []string
}

func (h *heard) add(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts = append(h.texts, text)
}

func (h *heard) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.texts, "\n")
}

// internet stands for the hosts of chat services: whatever name is called, the handler of that
// host answers, over TLS.
func internet(t *testing.T, hosts map[string]http.HandlerFunc) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := hosts[r.Host]
		if answer == nil {
			http.Error(w, "no such host "+r.Host, http.StatusMisdirectedRequest)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	usual := http.DefaultTransport
	theirs := server.Client().Transport.(*http.Transport)
	called := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: theirs.TLSClientConfig.RootCAs, ServerName: "example.com"},
	}
	http.DefaultTransport = called
	t.Cleanup(func() { http.DefaultTransport = usual; called.CloseIdleConnections() })
}

// fields reads the JSON object of a request, or refuses it as the services do.
func fields(w http.ResponseWriter, r *http.Request) map[string]any {
	var body map[string]any
	if kind := r.Header.Get("Content-Type"); r.Method != http.MethodPost || !strings.HasPrefix(kind, "application/json") {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return nil
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return nil
	}
	return body
}

func slack(h *heard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := fields(w, r)
		if body == nil {
			return
		}
		if r.URL.Path != "/services/AAAAAAAAA/BBBBBBBBB/123456789123456789123456" {
			http.Error(w, "no_service", http.StatusNotFound)
			return
		}
		attachments, _ := body["attachments"].([]any)
		if len(attachments) == 0 && body["text"] == nil {
			http.Error(w, "no_text", http.StatusBadRequest)
			return
		}
		for _, one := range attachments {
			h.add(fmt.Sprint(one.(map[string]any)["text"]))
		}
		io.WriteString(w, "ok")
	}
}

func discord(h *heard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := fields(w, r)
		if body == nil {
			return
		}
		if r.URL.Path != "/api/webhooks/123456/token-of-discord" {
			http.Error(w, `{"message": "Unknown Webhook", "code": 10015}`, http.StatusNotFound)
			return
		}
		embeds, _ := body["embeds"].([]any)
		if len(embeds) > 10 || len(embeds) == 0 && body["content"] == nil {
			http.Error(w, `{"message": "Cannot send an empty message", "code": 50006}`, http.StatusBadRequest)
			return
		}
		h.add(fmt.Sprint(body["content"], embeds))
		w.WriteHeader(http.StatusNoContent)
	}
}

func teams(h *heard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := fields(w, r)
		if body == nil {
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/webhookb2/") || !strings.Contains(r.URL.Path, "/IncomingWebhook/") {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		if body["@type"] != "MessageCard" || body["summary"] == "" {
			http.Error(w, "Summary or Text is required.", http.StatusBadRequest)
			return
		}
		for _, section := range body["sections"].([]any) {
			h.add(fmt.Sprint(section.(map[string]any)["text"]))
		}
		io.WriteString(w, "1")
	}
}

func pagerduty(h *heard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := fields(w, r)
		if body == nil {
			return
		}
		payload, _ := body["payload"].(map[string]any)
		if r.URL.Path != "/v2/enqueue" || body["routing_key"] != strings.Repeat("a1", 16) {
			http.Error(w, `{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is invalid"]}`, http.StatusBadRequest)
			return
		}
		if payload["summary"] == nil || payload["source"] == nil || payload["severity"] == nil {
			http.Error(w, `{"status":"invalid event","message":"Event object is invalid"}`, http.StatusBadRequest)
			return
		}
		h.add(fmt.Sprintf("%v %v %v %v", body["event_action"], body["dedup_key"], payload["severity"], payload["summary"]))
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"status":"success","message":"Event processed","dedup_key":"%v"}`, body["dedup_key"])
	}
}

// mailServer speaks as much SMTP as a submission takes (RFC 5321), in order, and takes mails down.
func mailServer(t *testing.T, h *heard) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serveMail(conn, h)
		}
	})
	return listener.Addr().String()
}

func serveMail(conn net.Conn, h *heard) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 mail.test ESMTP")
	state := ""
	for lines.Scan() {
		switch verb, _, _ := strings.Cut(strings.ToUpper(lines.Text()), " "); {
		case verb == "EHLO" || verb == "HELO":
			state = "greeted"
			say("250 mail.test")
		case verb == "MAIL" && state == "greeted":
			state = "mail"
			say("250 2.1.0 Ok")
		case verb == "RCPT" && (state == "mail" || state == "rcpt"):
			state = "rcpt"
			h.add(lines.Text())
			say("250 2.1.5 Ok")
		case verb == "DATA" && state == "rcpt":
			say("354 End data with <CR><LF>.<CR><LF>")
			for lines.Scan() && lines.Text() != "." {
				h.add(lines.Text())
			}
			state = "greeted"
			say("250 2.0.0 Ok: queued")
		case verb == "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			say("503 5.5.1 Error: bad sequence of commands")
		}
	}
}
