// Policy sources and inputs in; what OPA's Go engine decides out, and how: every rule that took part, its
// conditions, which of them failed and on what values. Never the effect that counts: that is the Wasm module's.
//
//go:build js && wasm

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// explainTimeout ends the evaluations of one input that do not.
const explainTimeout = 5 * time.Second

// explanation is the decision, absent when undefined, and the rules in the order they were entered.
type explanation struct {
	Result any `json:"result,omitempty"`
	// Fault is why there is no decision: two rules of one name that disagree, time over.
	Fault string      `json:"fault,omitempty"`
	Rules []*ruleSeen `json:"rules"`
	// Incomplete: time was over or bounds were met, and what is told is only the beginning.
	Incomplete bool `json:"incomplete"`
}

func explain(ctx context.Context, req request) reply {
	written, compiler, err := deciding(req)
	if err != nil {
		return refuse(err)
	}
	data, err := ast.InterfaceToValue(req.Data)
	if err != nil {
		return refuse(err)
	}
	store := inmem.NewFromObject(req.Data)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return refuse(err)
	}
	defer store.Abort(ctx, txn)
	out := reply{OK: true, Errors: []diagnostic{}, Explanations: []*explanation{}}
	for _, input := range req.Inputs {
		value, err := ast.InterfaceToValue(input)
		if err != nil {
			return refuse(err)
		}
		e := &explainer{recorder: newRecorder(compiler, written), store: store, txn: txn, input: ast.NewTerm(value)}
		e.data = data
		out.Explanations = append(out.Explanations, e.explain(ctx, req.Entrypoints[0]))
	}
	return out
}

// deciding is the policy as it decides: rules marked shadow take no part.
func deciding(req request) (map[string]*ast.Module, *ast.Compiler, error) {
	written, err := checked(req)
	if err != nil {
		return nil, nil, err
	}
	live, err := withoutShadow(req, written)
	if err != nil {
		return nil, nil, err
	}
	if live == nil {
		compiler, err := compiled(req)
		return written, compiler, err
	}
	return live.modules, live.compiler, nil
}

func (e *explainer) explain(ctx context.Context, entrypoint string) *explanation {
	ctx, stop := context.WithTimeout(ctx, explainTimeout)
	defer stop()
	out := &explanation{}
	var err error
	if out.Result, err = e.decision(ctx, entrypoint); err != nil && !topdown.IsCancel(err) {
		out.Fault = err.Error()
	}
	// A queue: what is tried enters rules of its own, with conditions behind failed ones.
	for next := e.nextUntried(); next != nil && ctx.Err() == nil; next = e.nextUntried() {
		// A condition that cannot stand alone, because a failed one binds its variables, stays unknown.
		body, err := e.compiler.QueryCompiler().Compile(next.body)
		if err != nil {
			continue
		}
		if found, err := e.run(ctx, body); err == nil {
			next.condition.settle(len(found) > 0)
		}
	}
	out.Incomplete = e.full || e.dropped > 0 || ctx.Err() != nil
	out.Rules = e.rules(out.Incomplete)
	return out
}

// decision is the value of the entry point; nil when undefined.
func (e *explainer) decision(ctx context.Context, entrypoint string) (any, error) {
	answer := ast.VarTerm("answer")
	results, err := e.run(ctx, ast.NewBody(ast.Equality.Expr(answer, ast.NewTerm(refTo(entrypoint)))))
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return ast.JSON(results[0][ast.Var("answer")].Value)
}

// run evaluates without rule indexing and early exit: both skip conditions that should be told about.
func (e *explainer) run(ctx context.Context, body ast.Body) (topdown.QueryResultSet, error) {
	cancel := topdown.NewCancel()
	stop := context.AfterFunc(ctx, cancel.Cancel)
	defer stop()
	return topdown.NewQuery(body).
		WithCompiler(e.compiler).
		WithStore(e.store).
		WithTransaction(e.txn).
		WithInput(e.input).
		WithCancel(cancel).
		WithIndexing(false).
		WithEarlyExit(false).
		WithQueryTracer(e).
		WithQueryTracer(&yielder{}).
		Run(ctx)
}

// rules are the distinct ones, in order.
func (e *explainer) rules(incomplete bool) []*ruleSeen {
	out := []*ruleSeen{}
	known := map[string]bool{}
	var visit func(rules []*ruleSeen)
	visit = func(rules []*ruleSeen) {
		for _, rule := range rules {
			key := placeOf(rule.compiled.Loc()) + fmt.Sprint(rule.Arguments, rule.Holds)
			// A rule that time cut short is neither true nor false.
			cut := incomplete && !rule.Holds && len(rule.failed) == 0
			if !known[key] && !cut {
				known[key] = true
				out = append(out, rule)
			}
			visit(rule.below)
		}
	}
	visit(e.top)
	return out
}

// titled finds a rule's annotation: its own, its document's, or that of a rule of the same name.
func titled(compiler *ast.Compiler, rule *ast.Rule) (title, description string) {
	set := compiler.GetAnnotationSet()
	path := rule.Ref().GroundPrefix()
	var found []*ast.Annotations
	found = append(found, set.GetRuleScope(rule)...)
	if document := set.GetDocumentScope(path); document != nil {
		found = append(found, document)
	}
	for _, other := range compiler.GetRulesExact(path) {
		found = append(found, set.GetRuleScope(other)...)
	}
	if at := slices.IndexFunc(found, func(a *ast.Annotations) bool { return a.Title != "" }); at >= 0 {
		return found[at].Title, strings.TrimSpace(found[at].Description)
	}
	return "", ""
}
