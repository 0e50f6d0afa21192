// What an endpoint says of itself, for its row in the OpenAPI document. Types alone.
import type { z } from 'zod'
import type { RefusalCode } from '../refusals.ts'

/** One parameter of the query. */
export interface QueryParameter {
  readonly name: string
  readonly description: string
}

/** One endpoint, in words and schemas. */
export interface Description {
  /** One line, without a full stop. */
  readonly summary: string
  /** Of the query; every one may be left out. */
  readonly query?: readonly QueryParameter[]
  /** Of a JSON body or of a form. */
  readonly body?: z.ZodType
  /** Of the answer to a call that succeeds; absent: it is not JSON, or there is none. */
  readonly answer?: z.ZodType
  /** Media type of an answer that is not JSON. */
  readonly media?: string
  /** Status of a call that succeeds; default 200. */
  readonly status?: number
  /** Codes it refuses with, beside those of every endpoint. */
  readonly errors?: readonly RefusalCode[]
}
