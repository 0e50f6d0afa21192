// Rules that can never fire under the configured operations: they want what no operation is, or read what
// none of theirs has. Only with a configuration; test files may ask for anything.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// operation is one mapped endpoint, as the host reads it from the configuration.
type operation struct {
	Backend     string   `json:"backend"`
	Match       string   `json:"match"`
	Methods     []string `json:"methods"`
	Verb        string   `json:"verb"`
	Sensitivity string   `json:"sensitivity"`
	Risk        string   `json:"risk"`
	Params      []string `json:"params"`
	// Body tells whether policy sees the request body.
	Body        bool     `json:"body"`
	OpaqueQuery []string `json:"opaqueQuery"`
}

var requestRef = ast.InputRootRef.Append(ast.StringTerm("request"))

// values are what one field of the request can be under an operation; nil for a field that is not fixed by it.
func (o operation) values(field string) []string {
	switch field {
	case "backend":
		return []string{o.Backend}
	case "operation":
		return []string{o.Match}
	case "method":
		return o.Methods
	case "verb":
		return []string{o.Verb}
	case "sensitivity":
		return []string{o.Sensitivity}
	case "risk":
		return []string{o.Risk}
	}
	return nil
}

// named are the fields whose values only the configuration makes; the others have a scale of their own, and a
// rule may speak of all of it.
var named = []string{"backend", "operation", "method", "verb"}

// requestMember is what follows `input.request` in a reference.
func requestMember(ref ast.Ref) (string, ast.Ref) {
	if len(ref) < 3 || !ref.HasPrefix(requestRef) {
		return "", nil
	}
	name, _ := ref[2].Value.(ast.String)
	return string(name), ref[3:]
}

func (l *linter) neverFires() {
	l.eachRule(func(rule *ast.Rule, b bindings) {
		if isTestFile(rule.Loc().File) {
			return
		}
		l.body(rule.Body, b, l.operations)
	})
}

// body narrows the operations by what a body wants, then looks at what it reads; so do the closures in it.
func (l *linter) body(body ast.Body, b bindings, operations []operation) {
	for _, expr := range body {
		for _, c := range l.comparisonsIn(expr, b) {
			name, rest := requestMember(c.field)
			if len(rest) > 0 || operations == nil {
				continue
			}
			if !l.knownValues(name, c) {
				operations = nil
			} else if c.holds {
				operations = l.narrowed(operations, name, c)
			}
		}
	}
	if len(operations) == 0 {
		return
	}
	for _, expr := range body {
		if len(expr.With) == 0 {
			l.reads(expr, b, operations)
		}
	}
}

// knownValues reports a comparison of a named field with what no operation is; of several words only those that
// look misspelt, or all when no operation is any of them.
func (l *linter) knownValues(name string, c comparison) bool {
	if !slices.Contains(named, name) {
		return true
	}
	var known []string
	for _, o := range l.operations {
		known = append(known, o.values(name)...)
	}
	var unknown []*ast.Term
	for _, value := range c.values {
		if word, ok := value.Value.(ast.String); ok && !slices.Contains(known, string(word)) {
			unknown = append(unknown, value)
		}
	}
	others := slices.DeleteFunc(known, func(word string) bool {
		return slices.ContainsFunc(c.values, func(value *ast.Term) bool { return value.Equal(ast.StringTerm(word)) })
	})
	fires := len(unknown) < len(c.values)
	for _, value := range unknown {
		if !fires || misspelt(string(value.Value.(ast.String)), others) {
			l.report(neverHas(value, fmt.Sprintf("has the %s %v", name, value), didYouMean("", value.String(), quoted(others))))
		}
	}
	return fires
}

// narrowed are the operations under which a comparison can hold; it reports when there is none left.
func (l *linter) narrowed(operations []operation, name string, c comparison) []operation {
	out := meeting(operations, name, c)
	if len(out) == 0 && slices.Contains(named, name) {
		l.report(neverHas(c.values[0], fmt.Sprintf("has the %s %v and all else that this rule wants", name, c.values[0]), ""))
	}
	return out
}

func meeting(operations []operation, name string, c comparison) []operation {
	var out []operation
	for _, o := range operations {
		values := o.values(name)
		if values == nil || slices.ContainsFunc(c.values, func(value *ast.Term) bool {
			word, ok := value.Value.(ast.String)
			return ok && slices.Contains(values, string(word))
		}) {
			out = append(out, o)
		}
	}
	return out
}

// operationsOf are those that a rule is about: by what its body wants, or the name it is filed under.
func (l *linter) operationsOf(rule *ast.Rule, b bindings) []operation {
	operations := l.operations
	for _, expr := range rule.Body {
		for _, c := range l.comparisonsIn(expr, b) {
			if name, rest := requestMember(c.field); len(rest) == 0 && c.holds {
				operations = meeting(operations, name, c)
			}
		}
	}
	for _, step := range rule.Head.Ref() {
		filed := comparison{values: []*ast.Term{step}}
		if own := meeting(operations, "operation", filed); len(own) > 0 {
			operations = own
		}
	}
	return operations
}

// reads looks at every reference in an expression; a closure in it is a body under the same operations.
func (l *linter) reads(expr *ast.Expr, b bindings, operations []operation) {
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.ArrayComprehension:
			l.body(node.Body, b, operations)
			return true
		case *ast.SetComprehension:
			l.body(node.Body, b, operations)
			return true
		case *ast.ObjectComprehension:
			l.body(node.Body, b, operations)
			return true
		case *ast.Every:
			l.body(node.Body, b, operations)
			return true
		case *ast.Term:
			if _, isRef := node.Value.(ast.Ref); isRef {
				if ref, known := b.ref(node); known {
					l.read(ref, operations)
				}
			}
		}
		return false
	}).Walk(expr)
}

func (l *linter) read(ref ast.Ref, operations []operation) {
	member, rest := requestMember(ref)
	if len(rest) == 0 {
		return
	}
	key, isName := rest[0].Value.(ast.String)
	switch {
	case member == "body":
		if !slices.ContainsFunc(operations, func(o operation) bool { return o.Body }) {
			l.report(neverHas(ref[2], "of this rule has a body that policy sees", "write `body: json` for it in the configuration"))
		}
	case member == "params" && isName:
		var params []string
		for _, o := range operations {
			params = append(params, o.Params...)
		}
		if !slices.Contains(params, string(key)) {
			hint := didYouMean(ref[:3].String()+".", string(key), params)
			l.report(neverHas(rest[0], fmt.Sprintf("of this rule has a parameter %s", key), hint))
		}
	case member == "query" && isName:
		hidden := func(o operation) bool { return slices.Contains(o.OpaqueQuery, string(key)) }
		if !slices.ContainsFunc(operations, func(o operation) bool { return !hidden(o) }) {
			l.report(neverHas(rest[0], fmt.Sprintf("of this rule has a query parameter %s that policy sees", key),
				"opaque_query in the configuration hides it"))
		}
	}
}

func neverHas(place *ast.Term, what, hint string) diagnostic {
	return diagnostic{Code: "operation_never", Message: "no operation " + what, Hint: hint}.at(place.Location)
}
