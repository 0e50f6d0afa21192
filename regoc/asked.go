// What tests ask policy: each reference from a test to a rule of the policy, with everything that `with` put in
// place. It is asked again on its own: by OPA's Go engine here, and as an entry point by the host.
// Never asks what depends on more than the input, the data and the arguments.
//
//go:build js && wasm

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"
)

// askedPackage holds one rule per question (`value_0`), one for its input (`input_0`), and one that compares it to
// the answer of OPA's Go engine (`same_0`).
const askedPackage = "leasegate_asked"

const maxAsked = 8

// question is one reference as Rego text: what, and under which `with`.
type question struct {
	ref  string
	with string
}

// asked is a question with the answer of OPA's Go engine; ID is its number in askedPackage.
type asked struct {
	ID  int    `json:"id"`
	Ref string `json:"ref"`
	// Input and Value are absent when undefined, which null is not.
	Input json.RawMessage `json:"input,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`

	with string
}

// asking is what has to be known of a query to ask again what its expressions ask.
type asking struct {
	// test: the query is part of a test rather than of the policy.
	test bool
	// around is what `with` put in place around the query, within what it puts around the expression at hand.
	around, within []*ast.With
	// steps and asked are how many there were before the condition at hand.
	steps, asked int
}

// withinOf adds the `with` of an expression to what is in place around it; nearer ones replace. The input around is
// the event's own.
func withinOf(around, more []*ast.With, event topdown.Event) []*ast.With {
	out := slices.Clone(around)
	for _, with := range more {
		out = slices.DeleteFunc(out, func(w *ast.With) bool { return w.Target.Equal(with.Target) })
		out = append(out, &ast.With{Target: with.Target, Value: event.Plug(with.Value)})
	}
	return out
}

// questions are the rules of the policy that an expression of a test refers to. Bodies inside the expression are
// queries of their own and come with events of their own.
func (r *recorder) questions(within []*ast.With, expr *ast.Expr, event topdown.Event) []question {
	var out []question
	with, ok := withText(r.compiler, within, event.Input(), expr.With)
	if !ok {
		return nil
	}
	add := func(ref string) { out = append(out, question{ref, with}) }
	if expr.IsCall() && isPolicy(r.compiler, expr.Operator()) {
		if call, ok := callText(r.compiler, expr, event); ok {
			add(call)
		}
	}
	visit := ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Body:
			return true
		case ast.Ref:
			for n := 2; n <= len(x.GroundPrefix()); n++ {
				if prefix := x[:n]; isPolicy(r.compiler, prefix) && !isFunction(r.compiler, prefix) {
					add(prefix.String())
					break
				}
			}
		}
		return false
	})
	visit.Walk(expr.NoWith())
	return out
}

// isPolicy recognises a rule that is under test, rather than part of one.
func isPolicy(compiler *ast.Compiler, ref ast.Ref) bool {
	rules := compiler.GetRulesExact(ref)
	return len(rules) > 0 && !isTestFile(rules[0].Loc().File) && !isTest(rules[0])
}

func callText(compiler *ast.Compiler, expr *ast.Expr, event topdown.Event) (string, bool) {
	arity := len(compiler.GetRulesExact(expr.Operator())[0].Head.Args)
	var arguments []string
	for _, operand := range expr.Operands()[:arity] {
		plugged := event.Plug(operand)
		if !plugged.IsGround() {
			return "", false
		}
		arguments = append(arguments, plugged.String())
	}
	return fmt.Sprintf("%v(%s)", expr.Operator(), strings.Join(arguments, ", ")), true
}

// withText writes out what is in place: the input there is, unless the expression replaces it, then the rest. An
// input set in part around the expression is in the input there is. Replaced functions come last: the planner for
// WebAssembly mixes up values that follow one (OPA 1.20.2).
func withText(compiler *ast.Compiler, within []*ast.With, input *ast.Term, own []*ast.With) (string, bool) {
	var values, functions strings.Builder
	target := func(w *ast.With) ast.Ref { return w.Target.Value.(ast.Ref) }
	isOwn := func(w *ast.With) bool {
		return slices.ContainsFunc(own, func(o *ast.With) bool { return o.Target.Equal(w.Target) })
	}
	whole := slices.ContainsFunc(own, func(w *ast.With) bool { return target(w).Equal(ast.InputRootRef) })
	if input != nil && !whole {
		fmt.Fprintf(&values, " with input as %v", input)
	}
	for _, with := range within {
		isInput := target(with).HasPrefix(ast.InputRootRef)
		isData := target(with).HasPrefix(ast.DefaultRootRef) && !isFunction(compiler, target(with))
		if isInput && !isOwn(with) {
			continue
		}
		if isInput || isData {
			if !with.Value.IsGround() {
				return "", false
			}
			fmt.Fprintf(&values, " with %v as %v", with.Target, with.Value)
		} else {
			fmt.Fprintf(&functions, " with %v as %v", with.Target, with.Value)
		}
	}
	return values.String() + functions.String(), true
}

// worthAsking picks the questions to ask again: those of the expression that failed last, or all when none did;
// each once, the latest of too many.
func worthAsking(t *caseSeen) []asked {
	out := []asked{}
	for _, q := range slices.Backward(since(t.asked, t.fromAsked)) {
		same := func(a asked) bool { return a.Ref == q.ref && a.with == q.with }
		if len(out) < maxAsked && !slices.ContainsFunc(out, same) {
			out = append(out, asked{Ref: q.ref, with: q.with})
		}
	}
	slices.Reverse(out)
	return out
}

// answerAsked fills in what the Go engine answers, and compiles the questions for the other one. A question that
// cannot be put again on its own says so, and costs the traces nothing.
func answerAsked(ctx context.Context, req request, traces []testTrace) ([]byte, error) {
	var all []*asked
	text := "package " + askedPackage + "\n"
	for _, t := range traces {
		for at := range t.Asked {
			q := &t.Asked[at]
			q.ID = len(all)
			all = append(all, q)
			text += fmt.Sprintf("value_%d := x if x := %s%s\n", q.ID, q.Ref, q.with)
			text += fmt.Sprintf("input_%d := x if x := input%s\n", q.ID, q.with)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	file := askedPackage + ".rego"
	files := maps.Clone(req.Files)
	files[file] = text
	compiler, err := compiled(request{Files: files, Data: req.Data})
	if err != nil {
		for _, q := range all {
			q.Error = err.Error()
		}
		return nil, nil
	}
	var entrypoints []string
	for _, q := range all {
		same, err := q.answer(ctx, compiler, inmem.NewFromObject(req.Data))
		if err != nil {
			return nil, err
		}
		files[file] += same
		entrypoints = append(entrypoints, q.rule("value"), q.rule("same"))
	}
	modules, err := parse(files)
	if err != nil {
		return nil, err
	}
	return toWasm(ctx, request{Files: files}, modules, entrypoints)
}

// rule is the entry point of one of the rules of a question.
func (q *asked) rule(name string) string {
	return fmt.Sprintf("%s/%s_%d", askedPackage, name, q.ID)
}

// answer asks the Go engine, and writes the rule that compares its answer to the other one's.
func (q *asked) answer(ctx context.Context, compiler *ast.Compiler, store storage.Store) (string, error) {
	found, err := termOf(ctx, compiler, store, refTo(q.rule("value")))
	if err != nil {
		q.Error = err.Error()
	}
	input, err := termOf(ctx, compiler, store, refTo(q.rule("input")))
	if err != nil {
		return "", err
	}
	if q.Value, err = rawJSON(found); err == nil {
		q.Input, err = rawJSON(input)
	}
	if err != nil {
		return "", err
	}
	if found == nil {
		return fmt.Sprintf("same_%d if not value_%[1]d\n", q.ID), nil
	}
	return fmt.Sprintf("same_%d if value_%[1]d == %v\n", q.ID, found), nil
}

// rawJSON is nothing for nil, and `null` for null.
func rawJSON(term *ast.Term) (json.RawMessage, error) {
	if term == nil {
		return nil, nil
	}
	value, err := ast.JSON(term.Value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// isFunction tells a reference that is called from one that is read.
func isFunction(compiler *ast.Compiler, ref ast.Ref) bool {
	_, ok := compiler.TypeEnv.GetByRef(ref).(*types.Function)
	return ok
}
