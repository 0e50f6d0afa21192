// Errors of OPA in; diagnostics with file, line and column out. Never drops one.
//
//go:build js && wasm

package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// diagnostic names one mistake; File is empty and Line 0 where it belongs to no place in the sources. Columns
// count characters from 1; EndColumn is the one after the wrong part, 0 when that is not known.
type diagnostic struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndColumn int    `json:"endColumn,omitempty"`
	Code      string `json:"code"`
	Severity  string `json:"severity,omitempty"`
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`
}

const warning = "warning"

// diagnosticsError carries diagnostics that are complete already.
type diagnosticsError []diagnostic

func (e diagnosticsError) Error() string {
	return e[0].Message
}

func refuse(err error) reply {
	return reply{Errors: diagnostics(err)}
}

func diagnostics(err error) []diagnostic {
	var done diagnosticsError
	var many ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &done):
		return done
	case errors.As(err, &many):
		out := make([]diagnostic, 0, len(many))
		for _, e := range many {
			out = append(out, fromAST(e))
		}
		return inOrder(out)
	case errors.As(err, &one):
		return []diagnostic{fromAST(one)}
	default:
		return []diagnostic{{Code: "regoc_error", Message: err.Error()}}
	}
}

func fromAST(e *ast.Error) diagnostic {
	lines := []string{e.Message}
	// The detail of a syntax error is its source line, which the host shows.
	if _, isSyntax := e.Details.(*ast.ParserErrorDetail); e.Details != nil && !isSyntax {
		for _, line := range e.Details.Lines() {
			if line = strings.TrimSpace(line); line != "" && strings.Trim(line, "^") != "" {
				lines = append(lines, line)
			}
		}
	}
	return diagnostic{Code: e.Code, Message: strings.Join(strings.Fields(strings.Join(lines, "; ")), " ")}.at(e.Location)
}

// at is the same diagnostic about the first line of `place`; nil leaves it without a place.
func (d diagnostic) at(place *ast.Location) diagnostic {
	if place == nil {
		return d
	}
	text, _, _ := strings.Cut(string(place.Text), "\n")
	// A file without a single statement has no row.
	d.File, d.Line, d.Column, d.EndColumn = place.File, max(place.Row, 1), max(place.Col, 1), 0
	if width := utf8.RuneCountInString(strings.TrimRight(text, " \t\r")); width > 0 {
		d.EndColumn = place.Col + width
	}
	return d
}

// atWord narrows the place to the first occurrence of `word` in its first line, where there is one.
func (d diagnostic) atWord(place *ast.Location, word string) diagnostic {
	d = d.at(place)
	if place == nil {
		return d
	}
	text, _, _ := strings.Cut(string(place.Text), "\n")
	if before, _, found := strings.Cut(text, word); found {
		d.Column += utf8.RuneCountInString(before)
		d.EndColumn = d.Column + utf8.RuneCountInString(word)
	}
	return d
}

// atCall is atWord for the name of a function, which may be written in short after an import.
func (d diagnostic) atCall(place *ast.Location, name string) diagnostic {
	if place != nil && !strings.HasPrefix(string(place.Text), name) {
		text, _, _ := strings.Cut(string(place.Text), "(")
		name = text[strings.LastIndexAny(text, " \t\n")+1:]
	}
	return d.atWord(place, name)
}

// inOrder sorts by place and drops what is said twice; the parser says some things once in short and once in full.
func inOrder(found []diagnostic) []diagnostic {
	slices.SortStableFunc(found, func(a, b diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, cmp.Compare(a.Message, b.Message))
	})
	kept := []diagnostic{}
	for i, d := range found {
		if i+1 == len(found) || !d.saidBy(found[i+1]) {
			kept = append(kept, d)
		}
	}
	return kept
}

func (d diagnostic) saidBy(other diagnostic) bool {
	return d.File == other.File && d.Line == other.Line && d.Column == other.Column && strings.HasPrefix(other.Message, d.Message)
}
