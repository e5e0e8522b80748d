"""One folder per question: from the files that runs leave behind to tables, figures and a page."""
