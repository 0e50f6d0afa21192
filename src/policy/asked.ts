// A policy input seen as what the built-in check of grants looks at. Pure.
import type { Asked } from '../enforce/checks.ts'
import type { PolicyInput } from './input_schema.ts'

/** For `grantCoversRequest`. Constraints are not part of an input: a budget is spent after the decision. */
export function asked({ lease, request }: PolicyInput): Asked {
  const { verb, resource, sensitivity, risk } = request
  return {
    lease: {
      grants: lease.granted.map(({ actions, resource: identifier, sensitivity: ceiling }) => ({
        actions,
        identifier,
        sensitivity: ceiling,
        constraints: {},
      })),
    },
    mapped: { resource, operation: { verb, sensitivity, risk } },
  }
}
