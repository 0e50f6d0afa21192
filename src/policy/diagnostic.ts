// What is wrong with a policy, and where. Plain data; in: nothing, out: the shape, its text, and the error
// that carries it.

/** One mistake in a policy directory. */
export interface Diagnostic {
  /** Relative to the policy directory; '' when the mistake has no place of its own. */
  readonly file: string
  /** From 1; 0 when it has none. */
  readonly line: number
  /** In characters, from 1; 0 when it has none. */
  readonly column: number
  /** The column after the wrong part, on the same line; absent where that is not known. */
  readonly endColumn?: number
  /** OPA's (`rego_parse_error`, `rego_type_error`, …) or ours (`test_failed`, `data_invalid`, …). */
  readonly code: string
  /** Absent: an error. A warning keeps no policy from going live. */
  readonly severity?: 'warning'
  readonly message: string
  /** What is probably meant, or what to write instead. */
  readonly hint?: string
}

/** Whether a policy with this mistake must not go live. */
export function isError({ severity }: Diagnostic): boolean {
  return severity === undefined
}

/** `authz.rego:12:3: rego_type_error: undefined ref: …`, as editors and terminals understand it. */
export function formatDiagnostic({ file, line, column, code, message, hint }: Diagnostic): string {
  const place = file === '' ? '' : `${file}:${line}:${column}: `
  return `${place}${code}: ${message}${hint === undefined ? '' : ` (${hint})`}`
}

/** A policy that cannot be used. Its message lists every diagnostic, one a line. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly diagnostics: readonly Diagnostic[]

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(formatDiagnostic).join('\n'))
    this.diagnostics = diagnostics
  }
}

/** A `PolicyError` about a whole file, or about no file in particular (`''`). */
export function fileError(file: string, code: string, message: string): PolicyError {
  const first = file === '' ? 0 : 1
  return new PolicyError([{ file, line: first, column: first, code, message }])
}
