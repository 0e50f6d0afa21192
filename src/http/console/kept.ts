// What is kept in a record of ours. In: its text. Out: an object. Whatever else stands there is nobody's.
import { isObject } from '../../lease/text.ts'

/** The object that a text is; undefined: it is none. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
