// Whether a rule has a value for every input that fits the schema. Never says yes without a proof.
//
//go:build js && wasm

package main

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// total are the builtins that have a value for all operands of the right types.
var total = []string{
	"count", "concat", "format_int", "split", "trim", "trim_prefix", "trim_suffix", "trim_space", "type_name", "sort", "sum", "array.concat", "array.flatten", "array.reverse", "array.slice", "and", "or",
	"union", "intersection", "object.get", "object.keys", "object.union", "object.remove", "lower", "upper",
	"plus", "minus", "mul", "internal.template_string", "internal.member_2", "internal.member_3",
	"equal", "neq", "lt", "lte", "gt", "gte",
}

// alwaysAnswers tells whether one of the rules of a name gives it a value whatever is asked.
func (l *linter) alwaysAnswers(rules []*ast.Rule) bool {
	for _, rule := range rules {
		if rule.Default || rule.Head.RuleKind() == ast.MultiValue || !rule.Head.Ref().IsGround() {
			return true
		}
		for branch := rule; branch != nil; branch = branch.Else {
			b := bindingsOf(branch)
			if l.alwaysHolds(branch.Body, b) && l.defined(branch.Head.Value, b) {
				return true
			}
		}
	}
	return false
}

// alwaysHolds tells whether a body only gives names to values that are there.
func (l *linter) alwaysHolds(body ast.Body, b bindings) bool {
	for _, expr := range body {
		if expr.Negated || len(expr.With) > 0 {
			return false
		}
		if term, ok := expr.Terms.(*ast.Term); ok {
			if !term.Equal(ast.BooleanTerm(true)) {
				return false
			}
			continue
		}
		if !expr.IsCall() || !l.givesName(expr, b) {
			return false
		}
	}
	return true
}

// givesName tells whether an expression is `name = value` for a name that nothing else sets, or the call of a
// total builtin with such a name for its result.
func (l *linter) givesName(expr *ast.Expr, b bindings) bool {
	operands := expr.Operands()
	if expr.IsEquality() {
		left, right := operands[0], operands[1]
		if name, ok := left.Value.(ast.Var); ok && b[name] == right {
			return l.defined(right, b)
		}
		name, ok := right.Value.(ast.Var)
		return ok && b[name] == left && l.defined(left, b)
	}
	arity := l.compiler.GetArity(expr.Operator())
	return arity >= 0 && len(operands) == arity+1 && l.definedCall(expr.Operator(), operands[:arity], b)
}

func (l *linter) definedCall(operator ast.Ref, operands []*ast.Term, b bindings) bool {
	return slices.Contains(total, operator.String()) &&
		!slices.ContainsFunc(operands, func(operand *ast.Term) bool { return !l.defined(operand, b) })
}

// defined tells whether a term has a value whatever is asked.
func (l *linter) defined(term *ast.Term, b bindings) bool {
	switch value := term.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String,
		*ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		return true
	case ast.Var:
		// Set by an equation or a call that `alwaysHolds` looks at on its own.
		return value.IsGenerated() || b[value] != nil
	case ast.Ref:
		ref, known := b.ref(term)
		return known && l.definedRef(ref)
	case *ast.Array:
		all := true
		value.Foreach(func(item *ast.Term) { all = all && l.defined(item, b) })
		return all
	case ast.Set:
		all := true
		value.Foreach(func(item *ast.Term) { all = all && l.defined(item, b) })
		return all
	case ast.Object:
		all := true
		value.Foreach(func(key, item *ast.Term) { all = all && l.defined(key, b) && l.defined(item, b) })
		return all
	case ast.Call:
		return l.definedCall(value[0].Value.(ast.Ref), value[1:], b)
	}
	return false
}

// definedRef knows the members that the schema requires, the rules that always have a value, and the data.
func (l *linter) definedRef(ref ast.Ref) bool {
	if ref.HasPrefix(ast.DefaultRootRef) {
		rules := l.compiler.GetRulesExact(ref)
		return len(rules) > 0 && l.alwaysAnswers(rules) || l.hasData(ref)
	}
	if !ref.HasPrefix(ast.InputRootRef) {
		return false
	}
	schema := l.schema
	for _, part := range ref[1:] {
		name, isName := part.Value.(ast.String)
		object, _ := schema.(map[string]any)
		required, _ := object["required"].([]any)
		if !isName || !slices.Contains(required, any(string(name))) {
			return false
		}
		schema = schemaMember(schema, part)
	}
	return true
}

// hasData tells whether a document stands there: data goes live with the rules, never without them.
func (l *linter) hasData(ref ast.Ref) bool {
	var here any = l.data
	for _, part := range ref[1:] {
		name, isName := part.Value.(ast.String)
		object, _ := here.(map[string]any)
		next, found := object[string(name)]
		if !isName || !found {
			return false
		}
		here = next
	}
	return true
}
