import { localText, utcText } from "../times";

/** A time in UTC; in the reader's own zone when it is pointed at. */
export function Moment({ at }: { readonly at: string }) {
  return (
    <time dateTime={at} title={`${localText(at)} (your time)`}>
      {utcText(at)}
    </time>
  );
}
