// In: what an agent wants to do, in words. Out: the RFC 9396 detail it means.
import type { LeaseDetail } from './errors.ts'

/** `read crm:customer/9821`, `read,list crm:customer/* restricted`, or a detail as it stands. */
export function detailOf(allow: string | LeaseDetail): LeaseDetail {
  if (typeof allow !== 'string') return allow
  const [verbs, identifier, sensitivity = 'confidential', ...rest] = allow.trim().split(/\s+/)
  if (verbs === undefined || identifier === undefined || rest.length > 0) {
    throw new TypeError(
      `'${allow}' is not 'VERB[,VERB] IDENTIFIER [SENSITIVITY]', e.g. 'read crm:customer/9821'`,
    )
  }
  return { type: 'lease', actions: verbs.split(','), identifier, sensitivity }
}

/** Both lists without what stands in it twice. */
export function union(one: readonly LeaseDetail[], other: readonly LeaseDetail[]): LeaseDetail[] {
  const found = new Map([...one, ...other].map((detail) => [JSON.stringify(detail), detail]))
  return [...found.values()]
}
