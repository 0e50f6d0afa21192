// What a policy file must be before anybody parses it: bounded, and text. In: bytes and sizes. Out: text, or
// a diagnostic with its place. Never replaces a byte that is no UTF-8.
import { isUtf8 } from 'node:buffer'
import type { Diagnostic } from './diagnostic.ts'

const mib = 1024 * 1024
const decoder = new TextDecoder()

/** Bytes of one `.rego` file, of all of them, of one data file, of one compiled module or bundle. */
export const sizeLimits = { rego: mib, allRego: 8 * mib, data: 64 * mib, compiled: 128 * mib } as const

/** The mistake in files that are too large, by path and size in bytes; undefined when all are small enough. */
export function tooLarge(sizes: ReadonlyMap<string, number>): Diagnostic | undefined {
  let allRego = 0
  for (const [file, size] of sizes) {
    const limit = limitOf(file)
    if (file.endsWith('.rego')) allRego += size
    if (size > limit) return large(file, `${inMib(size)} are more than the ${inMib(limit)} of one such file`)
    if (allRego > sizeLimits.allRego) {
      return large(file, `with it, the .rego files have more than ${inMib(sizeLimits.allRego)}`)
    }
  }
  return undefined
}

function limitOf(file: string): number {
  if (file.endsWith('.rego')) return sizeLimits.rego
  return file.startsWith('data/') ? sizeLimits.data : sizeLimits.compiled
}

function large(file: string, message: string): Diagnostic {
  return { file, line: 1, column: 1, code: 'file_too_large', message }
}

function inMib(bytes: number): string {
  return `${Math.ceil((bytes * 10) / mib) / 10} MiB`
}

/** The text of a file in UTF-8, or where it stops being that. */
export function utf8(file: string, bytes: Uint8Array): { readonly text: string } | Diagnostic {
  if (isUtf8(bytes)) return { text: decoder.decode(bytes) }
  const message = 'not UTF-8 from here on: save the file as UTF-8'
  return { file, ...firstFault(bytes), code: 'not_utf8', message }
}

/** A line feed is never part of a longer sequence, so one line at a time can be looked at. */
function firstFault(bytes: Uint8Array): { readonly line: number; readonly column: number } {
  let start = 0
  for (let line = 1; ; line++) {
    const feed = bytes.indexOf(0x0a, start)
    const text = bytes.subarray(start, feed < 0 ? bytes.length : feed)
    if (!isUtf8(text) || feed < 0) {
      return { line, column: [...decoder.decode(text).split('\ufffd', 1)[0]!].length + 1 }
    }
    start = feed + 1
  }
}
