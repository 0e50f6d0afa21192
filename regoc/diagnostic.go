// Errors of OPA in; diagnostics with file, line and column out. Never drops one.
//
//go:build js && wasm

package main

import (
	"errors"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// diagnostic names one mistake; File is empty and Line 0 where it belongs to no place in the sources.
type diagnostic struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func refuse(err error) reply {
	return reply{Errors: diagnostics(err)}
}

func diagnostics(err error) []diagnostic {
	var many ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &many):
		out := make([]diagnostic, 0, len(many))
		for _, e := range many {
			out = append(out, fromAST(e))
		}
		return out
	case errors.As(err, &one):
		return []diagnostic{fromAST(one)}
	default:
		return []diagnostic{{Code: "regoc_error", Message: err.Error()}}
	}
}

func fromAST(e *ast.Error) diagnostic {
	lines := []string{e.Message}
	if e.Details != nil {
		for _, line := range e.Details.Lines() {
			if line = strings.TrimSpace(line); line != "" && strings.Trim(line, "^") != "" {
				lines = append(lines, line)
			}
		}
	}
	out := diagnostic{Code: e.Code, Message: strings.Join(lines, "; ")}
	if e.Location != nil {
		out.File, out.Line, out.Column = e.Location.File, e.Location.Row, e.Location.Col
	}
	return out
}
