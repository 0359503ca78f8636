// Marks outputs that are wider than the page; kvlab.css tells the reader.
function mark() {
  for (const box of document.querySelectorAll(".bd-article .cell_output, .bd-article .cell_output .output"))
    box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
}
window.addEventListener("load", mark);
window.addEventListener("resize", mark);
