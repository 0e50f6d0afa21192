// A condition that failed in; the conditions behind it out, each to be tried on its own with the values that its
// variables had, so that all that is wrong comes out at once. Bounded.
//
//go:build js && wasm

package main

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxUntried bounds the conditions that are tried on their own.
const maxUntried = 400

// explainer is the recorder that has conditions behind failed ones tried as well.
type explainer struct {
	recorder
	store storage.Store
	txn   storage.Transaction
	input *ast.Term
	queue []*untried
	full  bool
}

// untried is a condition behind a failed one, with what its variables were.
type untried struct {
	condition *conditionSeen
	body      ast.Body
	reads     []read
}

// TraceEvent follows rules in and out, and conditions to their end.
func (e *explainer) TraceEvent(event topdown.Event) {
	expr, isExpr := event.Node.(*ast.Expr)
	switch {
	case event.Op == topdown.EnterOp:
		e.enter(event)
	case event.Op == topdown.ExitOp:
		e.exit(event)
	case isExpr && (event.Op == topdown.EvalOp || event.Op == topdown.FailOp):
		f := e.frames[event.QueryID]
		condition := e.look(f, event, expr)
		if condition != nil && f.own && event.Op == topdown.FailOp {
			e.postpone(f.rule, condition, event)
		}
	}
}

// postpone keeps the conditions behind a failed one, for every attempt of another set of values.
func (e *explainer) postpone(rule *ruleSeen, failed *conditionSeen, event topdown.Event) {
	for _, condition := range rule.Conditions[slices.Index(rule.Conditions, failed)+1:] {
		if failed.inner || condition.inner || len(condition.exprs) == 0 {
			continue
		}
		body := bound(condition.exprs, event)
		key := body.String()
		if condition.tried[key] || len(condition.tried) >= maxFailures {
			continue
		}
		condition.tried[key] = true
		if len(e.queue) >= maxUntried {
			e.full = true
			return
		}
		e.queue = append(e.queue, &untried{condition, body, e.reads(condition.exprs, event)})
	}
}

// nextUntried turns to the next condition in the queue; ids of queries are unique only within one.
func (e *explainer) nextUntried() *untried {
	if len(e.queue) == 0 {
		return nil
	}
	next := e.queue[0]
	e.queue = e.queue[1:]
	next.condition.Reads = next.reads
	e.trying, e.frames = next.condition, map[uint64]*frame{}
	return next
}

// bound copies expressions with the values of their variables in place.
func bound(exprs []*ast.Expr, event topdown.Event) ast.Body {
	body := make(ast.Body, 0, len(exprs))
	for _, expr := range exprs {
		copied, err := ast.TransformVars(expr.Copy(), func(name ast.Var) (ast.Value, error) {
			if term := event.Plug(ast.NewTerm(name)); term.IsGround() {
				return term.Value, nil
			}
			return name, nil
		})
		if plain, ok := copied.(*ast.Expr); err == nil && ok {
			body.Append(plain)
		}
	}
	return body
}
