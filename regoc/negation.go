// Negations that are no "yes" where a field is missing: what a comparison or a call is about, OPA reads before the
// `not` (its issue 8387), and the whole body is undefined. A name of the author's own is read before in plain sight.
//
//go:build js && wasm

package main

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// negations warns about each `not` that rests on what may be missing. Tests fail then, which is loud enough.
func (l *linter) negations() {
	l.eachRule(func(rule *ast.Rule, _ bindings) {
		if isTestFile(rule.Loc().File) {
			return
		}
		var r *reading
		ast.WalkExprs(rule.Body, func(expr *ast.Expr) bool {
			if !expr.Negated || len(expr.With) > 0 {
				return false
			}
			if r == nil {
				own := l.readingOf(rule)
				r = &own
			}
			if term := r.missingBefore(expr); term != nil {
				l.report(negated(term, expr))
			}
			return false
		})
	})
}

func negated(term *ast.Term, expr *ast.Expr) diagnostic {
	place := term.Location
	if place == nil || place.File == "" {
		// What only the compiler wrote has no place.
		place = expr.Location
	}
	return diagnostic{
		Code:     "negation_undefined",
		Severity: warning,
		Message:  fmt.Sprintf("this `not` never holds where %s is missing", strings.Join(strings.Fields(string(place.Text)), " ")),
		Hint:     "negate a rule: not within_limit; or write `import future.keywords.not`",
	}.at(place)
}

// missingBefore is what may be missing of all that the compiler reads before a negated expression.
func (r reading) missingBefore(expr *ast.Expr) (found *ast.Term) {
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case *ast.Term:
			if _, isVar := node.Value.(ast.Var); isVar && found == nil {
				found = r.missing(node)
			}
		}
		return found != nil
	}).Walk(expr)
	return found
}
