// In: what was explained, and of what. Out: the document for programs. Pure.
import { type Edited, editText } from './edit_text.ts'
import type { Explanation } from './explain.ts'
import type { Recorded, Subject } from './explain_subject.ts'
import { startsWith } from './lease_candidates.ts'
import type { Path, RuleTrace } from './trace.ts'

/** The file that holds a path of the data: the deepest that could. */
export function dataFile([, ...keys]: Path, files: readonly string[]): string {
  for (let depth = keys.length; depth > 0; depth--) {
    const stem = `data/${keys.slice(0, depth).join('/')}.`
    const found = files.find((file) => file.startsWith(stem) && !file.slice(stem.length).includes('/'))
    if (found !== undefined) return found
  }
  return files.find((file) => file.endsWith('.tar.gz')) ?? `data/${keys[0]}.json`
}

/** Where policy looked at something that the record leaves out: then its answer here may be another one. */
export interface HiddenRead {
  readonly name: string
  readonly file: string
  readonly line: number
}

/** One explanation, and what goes with it. */
export interface Told {
  readonly explanation: Explanation
  readonly edited: Edited
  readonly hidden: readonly HiddenRead[]
}

/** What of the policy's reading the record does not show. */
export function hiddenReads({ trace }: Explanation, recorded: Recorded | undefined): HiddenRead[] {
  const redacted = (recorded?.policy?.redacted ?? []).map((path): Path => ['input', ...path.split('.')])
  const isHidden = (path: Path) => redacted.some((each) => startsWith(path, each) || startsWith(each, path))
  const readsOf = ({ file, conditions }: RuleTrace) =>
    conditions.flatMap(({ line, reads, failures }) =>
      [...reads, ...failures.flat()]
        .filter(({ path }) => isHidden(path))
        .map(({ name }) => ({ name, file, line })),
    )
  const found = (trace?.rules ?? []).flatMap(readsOf)
  return [...new Map(found.map((read) => [JSON.stringify(read), read])).values()]
}

/** The document that `policy explain --json` prints and `GET /decisions/{id}/explanation` answers. */
export function explanationJson({ recorded, notes }: Subject, told: readonly Told[]) {
  return {
    recorded: recorded ?? null,
    notes,
    explanations: told.map(({ explanation, edited, hidden }) => {
      const { answer, otherAnswer, digest, uncovered, trace, search } = explanation
      if (hidden.length > 0) return { input: edited.input, digest, hidden }
      return {
        ...answer,
        input: edited.input,
        digest,
        engines_differ: otherAnswer ?? null,
        built_in: {
          check: 'grantCoversRequest',
          holds: uncovered === undefined,
          ...(uncovered === undefined ? {} : { code: uncovered.code, ...uncovered.facts }),
        },
        rules: trace?.rules ?? null,
        incomplete: trace?.incomplete ?? false,
        search:
          search === undefined
            ? null
            : {
                changes: search.changes.map((change) =>
                  change.map((edit) => ({ ...edit, text: editText(edit, edited) })),
                ),
                tried: search.tried,
                complete: search.complete,
              },
      }
    }),
  }
}
