// In: `authorization_details` of a token whose signature is proven. Out: the grants it holds, or the
// refusal. One unknown type, member or value refuses the whole token (RFC 9396 §5). Pure.
import { isRefusal, type Refusal } from '../refusals.ts'
import { fault } from './faults.ts'
import { type Grant, type Sensitivity, sensitivities } from './lease.ts'
import type { IssuerProfile } from './profile.ts'
import { isObject, isPlainText, own } from './text.ts'

const maxEntries = 64
const members: ReadonlySet<string> = new Set([
  'type',
  'actions',
  'identifier',
  'sensitivity',
  'constraints',
  'locations',
])

/** Reads every entry; each is one alternative of the lease. */
export function readDetails(value: unknown, audience: string, profile: IssuerProfile): Grant[] | Refusal {
  if (value === undefined) return fault('details_missing')
  if (!Array.isArray(value) || value.length > maxEntries) return fault('details_malformed')
  if (value.length === 0) return fault('details_missing')
  const grants: Grant[] = []
  for (const entry of value) {
    const grant = readEntry(entry, audience, profile)
    if (isRefusal(grant)) return grant
    grants.push(grant)
  }
  return grants
}

function readEntry(entry: unknown, audience: string, profile: IssuerProfile): Grant | Refusal {
  if (!isObject(entry)) return fault('details_malformed')
  if (own(entry, 'type') !== 'lease') return fault('details_type_unknown')
  if (Object.keys(entry).some((name) => !members.has(name))) return fault('details_malformed')
  const { actions, identifier, sensitivity = 'public', constraints = {}, locations } = entry
  if (!isActionList(actions) || !isIdentifier(identifier)) return fault('details_malformed')
  if (!isSensitivity(sensitivity) || !isObject(constraints)) return fault('details_malformed')
  if (actions.includes('*') && !profile.allowAnyAction) return fault('details_any_action')
  if (locations !== undefined && !locationsCover(locations, audience)) {
    return fault('details_location')
  }
  return { actions, identifier, sensitivity, constraints }
}

function isActionList(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.length <= maxEntries && value.every(isAction)
}

/** `*`, or a verb: plain text without a star, a space or a comma. */
export function isAction(value: unknown): value is string {
  return value === '*' || (isPlainText(value, 64) && !/[*,\s]/u.test(value))
}

export function isSensitivity(value: unknown): value is Sensitivity {
  return sensitivities.some((known) => known === value)
}

/**
 * Whether a value is `backend:segment(/segment)*`, or such a prefix ending in `/*`. Inside a segment a star
 * or a slash stands percent-encoded, as in the resource that the router makes of a request.
 */
export function isIdentifier(value: unknown): value is string {
  if (!isPlainText(value, 512)) return false
  const [, path] = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}:(.+?)(?:\/\*)?$/u.exec(value) ?? []
  return path?.split('/').every(isSegment) ?? false
}

function isSegment(segment: string): boolean {
  return /^(?:[^*%\\]|%[0-9A-F]{2})+$/u.test(segment) && segment !== '.' && segment !== '..'
}

/** A grant with `locations` (RFC 9396 §2.2) is for these only: the audience of the token has to be one. */
function locationsCover(locations: unknown, audience: string): boolean {
  if (!Array.isArray(locations) || !locations.every((location) => isPlainText(location, 512))) return false
  return locations.includes(audience)
}
