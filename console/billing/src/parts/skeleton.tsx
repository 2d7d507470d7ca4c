/** As it stands in the page's HTML, which is drawn over. */
const shape = document.querySelector(".skeleton")?.innerHTML ?? "";

/** The page's shape while its first answer is on the way. */
export function Skeleton() {
  return <div class="skeleton" aria-hidden="true" dangerouslySetInnerHTML={{ __html: shape }} />;
}
