// Policy sources and inputs in; what OPA's Go engine decides out, and how: every rule that took part, its
// conditions, which of them failed and on what values. Conditions behind a failed one are tried on their own,
// so that all that is wrong comes out at once. Never the effect that counts: that is the Wasm module's.
//
//go:build js && wasm

package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
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
	// Incomplete: time was over or the bounds of explain_recorder.go were met, and what is told is only the beginning.
	Incomplete bool `json:"incomplete"`
}

func explain(ctx context.Context, req request) reply {
	written, compiler, err := deciding(req)
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
		asked := asking{compiler, store, txn, ast.NewTerm(value)}
		seen := newDecisionRecorder(compiler, written, value, req.Data)
		out.Explanations = append(out.Explanations, asked.explain(ctx, seen, req.Entrypoints[0]))
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
	compiler := strictCompiler(req.Schema).WithStrict(false)
	if compiler.Compile(live.modules); compiler.Failed() {
		return nil, nil, compiler.Errors
	}
	return live.modules, compiler, nil
}

// asking is what every evaluation of one input shares.
type asking struct {
	compiler *ast.Compiler
	store    storage.Store
	txn      storage.Transaction
	input    *ast.Term
}

func (a asking) explain(ctx context.Context, seen *decisionRecorder, entrypoint string) *explanation {
	out := &explanation{}
	var err error
	if out.Result, err = a.decision(ctx, seen, entrypoint); topdown.IsCancel(err) {
		seen.full = true
	} else if err != nil {
		out.Fault = err.Error()
	}
	// A queue: what is tried enters rules of its own, with conditions behind failed ones.
	for next := seen.nextUntried(); next != nil; next = seen.nextUntried() {
		seen.begin(next)
		// A condition that cannot stand alone, because a failed one binds its variables, stays unknown.
		body, err := a.compiler.QueryCompiler().Compile(next.body)
		if err != nil {
			continue
		}
		if found, err := a.run(ctx, body, seen); err == nil {
			next.condition.settle(len(found) > 0)
		}
	}
	out.Rules, out.Incomplete = seen.rules(), seen.full
	return out
}

// decision is the value of the entry point; nil when undefined.
func (a asking) decision(ctx context.Context, seen *decisionRecorder, entrypoint string) (any, error) {
	answer := ast.VarTerm("answer")
	results, err := a.run(ctx, ast.NewBody(ast.Equality.Expr(answer, ast.NewTerm(refTo(entrypoint)))), seen)
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return ast.JSON(results[0][ast.Var("answer")].Value)
}

// run evaluates without rule indexing and early exit: both skip conditions that should be told about.
func (a asking) run(ctx context.Context, body ast.Body, seen *decisionRecorder) (topdown.QueryResultSet, error) {
	return topdown.NewQuery(body).
		WithCompiler(a.compiler).
		WithStore(a.store).
		WithTransaction(a.txn).
		WithInput(a.input).
		WithCancel(seen.cancel).
		WithIndexing(false).
		WithEarlyExit(false).
		WithQueryTracer(seen).
		Run(ctx)
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

// maxValueBytes is the length of JSON above which a value is only named.
const maxValueBytes = 2000

// shown is a value as JSON, or false when it is too long to show.
func shown(value ast.Value) (any, bool) {
	plain, err := ast.JSON(value)
	if err != nil {
		return nil, false
	}
	text, err := json.Marshal(plain)
	return plain, err == nil && len(text) <= maxValueBytes
}
