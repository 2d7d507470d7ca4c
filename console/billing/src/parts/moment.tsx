import { localText, utcText } from "../times";

function showLocal({ currentTarget }: { readonly currentTarget: HTMLTimeElement }): void {
  currentTarget.title = `${localText(currentTarget.dateTime)} (your time)`;
}

/** A time in UTC; in the reader's own zone when it is pointed at. Lists call it as a function, as they do `money`. */
export function moment(at: string) {
  return (
    <time dateTime={at} onMouseEnter={showLocal}>
      {utcText(at)}
    </time>
  );
}
