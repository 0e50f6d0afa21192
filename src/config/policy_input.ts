// In: one path of `audit.policy_input.redact`. Out: the path, or what to write instead.
// Never: a path that would redact nothing, because its author believes that it does.
import { inputPaths, isInputPath } from '../policy/input_paths.ts'
import { nearest } from './problems.ts'
import type { Outcome } from './scalars.ts'

/** A path of the policy input, such as `request.body` or, in what a caller sends, `request.body.card`. */
export function parseInputPath(text: string): Outcome<string> {
  if (isInputPath(text)) return { value: text }
  const near = nearest(text, inputPaths)
  return {
    fault:
      near === undefined
        ? 'write a field of the policy input, such as request.body'
        : `not a field of the policy input; did you mean ${near}?`,
  }
}
