// Tables of tests, `test_x[case] if …`: which rules are one, and the names of the rows that one went through, also
// of those that failed and have left nothing behind. A row that could fail unseen is an error.
//
//go:build js && wasm

package main

import (
	"encoding/json"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// isTable recognises `test_x[case] if …`: one row of it is one case, as in OPA's own tester.
func isTable(rule *ast.Rule) bool {
	ref := rule.Head.Ref()
	return len(ref) == 2 && rule.Head.DocKind() == ast.PartialObjectDoc && !ast.IsConstant(ref[1].Value)
}

// hasName: a row has its name as soon as one variable is bound, so that none can fail unseen.
func hasName(table *ast.Rule) bool {
	switch key := table.Head.Ref()[1].Value.(type) {
	case ast.Var:
		return !key.IsWildcard()
	case ast.Ref:
		return len(key.ConstantPrefix()) == len(key) && !key.HasPrefix(ast.DefaultRootRef)
	}
	return false
}

// caseTracer collects the rows that a table went through. Those that failed have left nothing else behind.
type caseTracer struct {
	rule *ast.Rule
	seen map[string]bool
	// unnamed is the line where a row failed that cannot be named: nobody would hear of it.
	unnamed int
}

func (*caseTracer) Enabled() bool { return true }

func (*caseTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (t *caseTracer) TraceEvent(event topdown.Event) {
	expr, ok := event.Node.(*ast.Expr)
	if !ok || !slices.Contains(t.rule.Body, expr) {
		return
	}
	name, known := caseAt(t.rule, event)
	switch {
	case known:
		t.seen[name] = true
	case event.Op == topdown.FailOp:
		t.unnamed = expr.Location.Row
	}
}

// caseAt is the name of the row that a table is at: the variable in its head, or what the compiler will bind
// that to (`test_x[tc.name]`) once the last expression has passed.
func caseAt(rule *ast.Rule, event topdown.Event) (string, bool) {
	key := rule.Head.Ref()[1]
	if name := event.Plug(key); name.IsGround() {
		return caseName(name.Value), true
	}
	for _, expr := range rule.Body {
		if !expr.Generated || !expr.IsEquality() || !expr.Operand(0).Equal(key) {
			continue
		}
		ref, ok := event.Plug(expr.Operand(1)).Value.(ast.Ref)
		if !ok || !ref.IsGround() {
			continue
		}
		if name, err := ref[0].Value.Find(ref[1:]); err == nil {
			return caseName(name), true
		}
	}
	return "", false
}

// caseName is the row's key as it stands in the JSON of the whole table.
func caseName(key ast.Value) string {
	if text, ok := key.(ast.String); ok {
		return string(text)
	}
	value, err := ast.JSON(key)
	if err != nil {
		return key.String()
	}
	text, err := json.Marshal(value)
	if err != nil {
		return key.String()
	}
	return string(text)
}
