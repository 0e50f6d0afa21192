// What a trace is made of: rules that were entered, and expressions that failed with the values of what they name.
//
//go:build js && wasm

package main

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// step is one body of a rule that was entered, as often as Times with the same outcome.
type step struct {
	Rule   string      `json:"rule"`
	File   string      `json:"file"`
	Line   int         `json:"line"`
	Held   bool        `json:"held"`
	Times  int         `json:"times"`
	Failed []condition `json:"failed"`
	Steps  []*step     `json:"steps"`
}

// condition is an expression that did not hold, with the values of what it names.
type condition struct {
	File   string            `json:"file"`
	Line   int               `json:"line"`
	Column int               `json:"column"`
	Text   string            `json:"text"`
	Values map[string]string `json:"values,omitempty"`
}

func (r *recorder) fail(event topdown.Event) {
	f := r.frames[event.QueryID]
	expr, ok := event.Node.(*ast.Expr)
	if f == nil || !ok {
		return
	}
	f.begun = false
	if !f.own || !expr.Location.HasFile() {
		return
	}
	found := condition{
		File: expr.Location.File, Line: expr.Location.Row, Column: expr.Location.Col,
		Text: oneLine(string(expr.Location.Text)), Values: r.values(f.rule, expr, event),
	}
	// An `every` fails at what failed inside of it.
	if f.step == &r.now.root && !expr.IsEvery() {
		r.now.fromStep, r.now.fromAsked = f.steps, f.asked
	}
	same := func(c condition) bool { return c.Line == found.Line && c.Column == found.Column }
	if at := slices.IndexFunc(f.step.Failed, same); at < 0 {
		f.step.Failed = append(f.step.Failed, found)
	} else {
		// Of an expression that failed for several values the last is shown; its place in the order moves too.
		f.step.Failed = append(slices.Delete(f.step.Failed, at, at+1), found)
	}
}

// values are the fields of the input and the variables that the author wrote in the expression. The compiler has
// taken them apart, so they are read from the source.
func (r *recorder) values(rule *ast.Rule, expr *ast.Expr, event topdown.Event) map[string]string {
	out := map[string]string{}
	body, err := ast.ParseBodyWithOpts(string(expr.Location.Text), parserOptions())
	if err != nil {
		return out
	}
	locals := map[ast.Var]*ast.Term{}
	ast.WalkTerms(rule, func(term *ast.Term) bool {
		if local, ok := term.Value.(ast.Var); ok && event.Plug(term).IsGround() {
			locals[r.compiler.RewrittenVars[local]] = event.Plug(term)
		}
		return false
	})
	var visit func(term *ast.Term) bool
	visit = func(term *ast.Term) bool {
		ref, isRef := term.Value.(ast.Ref)
		if !isRef {
			ref = ast.Ref{term}
		}
		head, isVar := ref[0].Value.(ast.Var)
		root := locals[head]
		isInput := ref.HasPrefix(ast.InputRootRef)
		if isInput {
			root = event.Input()
		}
		if !isVar || !isInput && root == nil {
			return false
		}
		// Of `holder.backends[input.request.backend]`, `holder.backends` has a name and a value, and so has its key.
		known := ref.ConstantPrefix()
		out[known.String()] = valueAt(root, known)
		for _, key := range ref[len(known):] {
			ast.WalkTerms(key, visit)
		}
		return true
	}
	ast.WalkTerms(body, visit)
	return out
}

func valueAt(root *ast.Term, ref ast.Ref) string {
	if root == nil {
		return "undefined"
	}
	value, err := root.Value.Find(ref[1:])
	if err != nil {
		return "undefined"
	}
	return value.String()
}

// since is what came after the first from of all; all, where nothing did because the answers were known by then.
func since[T any](all []T, from int) []T {
	if from < len(all) {
		return all[from:]
	}
	return all
}

// folded counts equal steps that follow each other instead of listing them, and leaves out fixtures.
func folded(steps []*step) []*step {
	out := []*step{}
	for _, s := range steps {
		s.Steps = folded(s.Steps)
		if s.Held && len(s.Steps) == 0 && isTestFile(s.File) {
			continue
		}
		if last := len(out) - 1; last >= 0 && sameStep(out[last], s) {
			out[last].Times++
			continue
		}
		out = append(out, s)
	}
	return out
}

func sameStep(a, b *step) bool {
	return a.File == b.File && a.Line == b.Line && a.Rule == b.Rule && a.Held == b.Held &&
		len(a.Steps) == 0 && len(b.Steps) == 0 &&
		slices.EqualFunc(a.Failed, b.Failed, func(x, y condition) bool { return x.Line == y.Line && x.Column == y.Column })
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}
