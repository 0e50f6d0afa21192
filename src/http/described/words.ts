// Schemas that several endpoints share. Answers are loose: a member more is no break.
import { z } from 'zod'

/** Seconds since 1970. */
export const time = z.number()
export const text = z.string()
export const count = z.int().min(0)
export const effect = z.enum(['allow', 'deny', 'hold', 'draft'])
export const sensitivity = z.enum(['public', 'internal', 'confidential', 'restricted'])
export const risk = z.enum(['low', 'medium', 'high'])
export const reasonBody = z.strictObject({ reason: text.min(1).max(256) })
/** Where the next page begins. */
export const next = text.optional()
/** The same, where a place is a moment. */
export const nextTime = time.optional()

/** `limit` and `before` of a list. */
export const paging = [
  { name: 'limit', description: 'rows on a page, at most' },
  { name: 'before', description: 'next of the page before' },
]

/** Operations within reach. */
export const reach = z.looseObject({
  backend: text,
  operation: text,
  sensitivity,
  risk,
  points: z.number(),
})
