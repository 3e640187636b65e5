package elastic

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// errUnfit: the request as a whole is not taken, and part of it may be.
var errUnfit = errors.New("request not taken as a whole")

// verdict is what became of the documents of a request.
type verdict struct {
	taken   int    // that are there now, or were before
	refused []item // that never will be
	again   []item // that will be later, perhaps
	why     string // an error of one of refused, or else of again
}

// answered is what a server says of each document of a bulk request, in their order.
type answered struct {
	Items []map[string]struct {
		Status int     `json:"status"`
		Error  problem `json:"error"`
	} `json:"items"`
}

// problem is what is wrong. Its reason is left out: it may hold what the document says.
type problem struct {
	Type string `json:"type"`
}

// judge reads the answer to a bulk request. An error says that it was no answer of a server that
// looked at the documents: all wait.
func judge(items []item, status int, body []byte) (verdict, error) {
	if status != http.StatusOK {
		return verdict{}, fault(status, body)
	}
	var answer answered
	if err := json.Unmarshal(body, &answer); err != nil {
		return verdict{}, errors.New("the answer is not that of a bulk request")
	}
	if len(answer.Items) != len(items) {
		return verdict{}, fmt.Errorf("answers for %d documents, %d were sent", len(answer.Items), len(items))
	}
	var v verdict
	for i, each := range answer.Items {
		said, is := each["create"]
		switch {
		case !is:
			return verdict{}, errors.New("answers for something that was not asked")
		case said.Status == http.StatusOK, said.Status == http.StatusCreated, said.Status == http.StatusConflict:
			v.taken++
		case isRefusal(said.Status):
			v.refused = append(v.refused, items[i])
			v.why = fmt.Sprintf("%s: %d %s", items[i].index(), said.Status, printable(said.Error.Type))
		default:
			v.again = append(v.again, items[i])
			if len(v.refused) == 0 {
				v.why = fmt.Sprintf("%s: %d %s", items[i].index(), said.Status, printable(said.Error.Type))
			}
		}
	}
	return v, nil
}

// isRefusal says whether a document can never be taken. What rights, missing indices and full
// disks are in the way of can be put right.
func isRefusal(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge
}

// fault says why a request failed. A 400 that is not the search engine's own comes from something
// before it, and says nothing about the documents.
func fault(status int, body []byte) error {
	err, kind := fmt.Errorf("status %d", status), problemOf(body)
	if kind != "" {
		err = fmt.Errorf("%w: %s", err, printable(kind))
	}
	if status == http.StatusRequestEntityTooLarge || status == http.StatusBadRequest && kind != "" {
		err = fmt.Errorf("%w: %w", errUnfit, err)
	}
	return err
}

// problemOf is the type of the search engine's own error; empty when something else answered.
func problemOf(body []byte) string {
	var said struct {
		Error problem `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	return said.Error.Type
}

// printable is the name of an error, if it looks like one: it comes from elsewhere.
func printable(name string) string {
	for _, r := range name {
		if r != '_' && (r < 'a' || r > 'z') {
			return "error"
		}
	}
	return name[:min(len(name), 64)]
}
